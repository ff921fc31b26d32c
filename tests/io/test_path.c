/* SPDX-License-Identifier: MIT */
/* coil/path.h: names do what the calls say, relative to their directory, and nothing else moves. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/file_fixture.h"

TestSuite(path, .init = make_directory, .fini = remove_directory);

static int open_directory(const char *path)
{
    const int fd = coil_file_open(path, O_RDONLY | O_DIRECTORY, 0);

    cr_assert_geq(fd, 0);
    return fd;
}

/* ---- Renaming ---- */

FIBER_TEST(path, a_rename_replaces_what_had_the_name)
{
    write_file("a", "new");
    write_file("b", "old");

    cr_assert_eq(coil_path_rename(AT_FDCWD, at("a"), AT_FDCWD, at("b"), 0), 0);

    expect_file("b", "new");
    cr_assert_not(exists("a"));
}

FIBER_TEST(path, a_rename_without_replacing_fails_and_moves_nothing)
{
    write_file("a", "new");
    write_file("b", "old");

    cr_assert_eq(coil_path_rename(AT_FDCWD, at("a"), AT_FDCWD, at("b"), COIL_RENAME_NOREPLACE),
                 -EEXIST);
    expect_file("a", "new");
    expect_file("b", "old");

    cr_assert_eq(coil_path_rename(AT_FDCWD, at("a"), AT_FDCWD, at("c"), COIL_RENAME_NOREPLACE), 0);
    expect_file("c", "new");
}

FIBER_TEST(path, an_exchange_swaps_two_names)
{
    write_file("a", "first");
    write_file("b", "second");

    cr_assert_eq(coil_path_rename(AT_FDCWD, at("a"), AT_FDCWD, at("b"), COIL_RENAME_EXCHANGE), 0);

    expect_file("a", "second");
    expect_file("b", "first");
    cr_assert_eq(coil_path_rename(AT_FDCWD, at("a"), AT_FDCWD, at("c"), COIL_RENAME_EXCHANGE),
                 -ENOENT);
}

FIBER_TEST(path, each_name_is_relative_to_its_own_directory)
{
    int from;
    int to;

    cr_assert_eq(mkdir(at("from"), 0755), 0);
    cr_assert_eq(mkdir(at("to"), 0755), 0);
    write_file("from/a", "moved");
    from = open_directory(at("from"));
    to = open_directory(at("to"));

    cr_assert_eq(coil_path_rename(from, "a", to, "b", 0), 0);
    expect_file("to/b", "moved");
    cr_assert_eq(coil_path_link(to, "b", from, "c"), 0);
    expect_file("from/c", "moved");
    cr_assert_eq(coil_path_unlink(to, "b"), 0);
    cr_assert_not(exists("to/b"));
    expect_file("from/c", "moved");

    cr_assert_eq(coil_file_close(from), 0);
    cr_assert_eq(coil_file_close(to), 0);
}

FIBER_TEST(path, a_directory_cannot_move_into_itself)
{
    cr_assert_eq(coil_path_mkdir(AT_FDCWD, at("a"), 0755), 0);

    cr_assert_eq(coil_path_rename(AT_FDCWD, at("a"), AT_FDCWD, at("a/b"), 0), -EINVAL);

    cr_assert(exists("a"));
}

/* ---- Removing ---- */

FIBER_TEST(path, files_and_directories_are_removed_each_by_its_own_call)
{
    write_file("file", "");
    cr_assert_eq(mkdir(at("dir"), 0755), 0);
    write_file("dir/file", "");

    cr_assert_eq(coil_path_unlink(AT_FDCWD, at("dir")), -EISDIR);
    cr_assert_eq(coil_path_rmdir(AT_FDCWD, at("file")), -ENOTDIR);
    cr_assert_eq(coil_path_rmdir(AT_FDCWD, at("dir")), -ENOTEMPTY);
    cr_assert(exists("file") && exists("dir/file"));

    cr_assert_eq(coil_path_unlink(AT_FDCWD, at("dir/file")), 0);
    cr_assert_eq(coil_path_rmdir(AT_FDCWD, at("dir")), 0);
    cr_assert_eq(coil_path_unlink(AT_FDCWD, at("file")), 0);
    cr_assert_not(exists("file") || exists("dir"));
    cr_assert_eq(coil_path_unlink(AT_FDCWD, at("file")), -ENOENT);
}

FIBER_TEST(path, an_unlinked_file_lives_on_while_it_is_open)
{
    const int fd = create("a");
    char text[8] = "";

    cr_assert_eq(coil_path_unlink(AT_FDCWD, at("a")), 0);

    cr_assert_eq(coil_file_write(fd, "alive", 5, 0), 5);
    cr_assert_eq(coil_file_read(fd, text, sizeof text, 0), 5);
    cr_assert_str_eq(text, "alive");
    cr_assert_eq(coil_file_close(fd), 0);
}

/* ---- Making ---- */

FIBER_TEST(path, a_new_directory_has_its_mode_less_the_umask)
{
    struct stat status;

    (void)umask(027);
    cr_assert_eq(coil_path_mkdir(AT_FDCWD, at("a"), 0777), 0);

    cr_assert_eq(stat(at("a"), &status), 0);
    cr_assert_eq(status.st_mode, S_IFDIR | 0750U);
    cr_assert_eq(coil_path_mkdir(AT_FDCWD, at("a"), 0777), -EEXIST);
    cr_assert_eq(coil_path_mkdir(AT_FDCWD, at("b/c"), 0777), -ENOENT);
}

FIBER_TEST(path, a_link_is_a_second_name_of_the_same_file)
{
    struct stat a;
    struct stat b;

    write_file("a", "text");
    cr_assert_eq(coil_path_link(AT_FDCWD, at("a"), AT_FDCWD, at("b")), 0);

    cr_assert_eq(stat(at("a"), &a), 0);
    cr_assert_eq(stat(at("b"), &b), 0);
    cr_assert_eq(a.st_ino, b.st_ino);
    cr_assert_eq(coil_path_link(AT_FDCWD, at("a"), AT_FDCWD, at("b")), -EEXIST);
    cr_assert_eq(coil_path_link(AT_FDCWD, directory, AT_FDCWD, at("c")), -EPERM);
}

FIBER_TEST(path, a_symbolic_link_holds_its_target_word_by_word)
{
    char target[64] = "";

    cr_assert_eq(coil_path_symlink("no/such/place", AT_FDCWD, at("a")), 0);

    cr_assert_eq(readlink(at("a"), target, sizeof target - 1), 13);
    cr_assert_str_eq(target, "no/such/place");
    cr_assert_eq(coil_path_symlink("x", AT_FDCWD, at("a")), -EEXIST);
    cr_assert_eq(coil_path_link(AT_FDCWD, at("a"), AT_FDCWD, at("b")), 0, "of the link itself");
}

/* ---- What is known of a name ---- */

FIBER_TEST(path, stat_follows_a_link_unless_it_is_asked_for_the_link)
{
    coil_file_info info;

    write_file("a", "12345");
    cr_assert_eq(symlink("a", at("link")), 0);
    cr_assert_eq(symlink("missing", at("dangling")), 0);

    cr_assert_eq(coil_path_stat(AT_FDCWD, at("link"), 0, &info), 0);
    cr_assert(info.is_regular);
    cr_assert_eq(info.size, 5);
    cr_assert_eq(coil_path_stat(AT_FDCWD, at("link"), AT_SYMLINK_NOFOLLOW, &info), 0);
    cr_assert(S_ISLNK(info.mode));
    cr_assert_not(info.is_regular);
    info.size = 77;
    cr_assert_eq(coil_path_stat(AT_FDCWD, at("dangling"), 0, &info), -ENOENT);
    cr_assert_eq(coil_path_stat(AT_FDCWD, at("a"), AT_EMPTY_PATH, &info), -EINVAL);
    cr_assert_eq(info.size, 77, "untouched on failure");
}

/* ---- Errors and interruptions ---- */

FIBER_TEST(path, what_is_no_directory_is_told)
{
    write_file("a", "");

    cr_assert_eq(coil_path_mkdir(-1, "x", 0755), -EBADF);
    cr_assert_eq(coil_path_rename(AT_FDCWD, at("a"), -1, "x", 0), -EBADF);
    cr_assert_eq(coil_path_rename(-1, "a", AT_FDCWD, at("x"), 0), -EBADF);
    cr_assert_eq(coil_path_link(AT_FDCWD, at("a"), -1, "x"), -EBADF);
    cr_assert_eq(coil_path_symlink("a", -1, "x"), -EBADF);
    cr_assert_eq(coil_path_unlink(-1, "a"), -EBADF);
    cr_assert_eq(coil_path_rmdir(AT_FDCWD, at("a/b")), -ENOTDIR);
    cr_assert(exists("a"));
}

FIBER_TEST(path, an_expired_scope_changes_nothing)
{
    coil_file_info info;
    coil_scope scope;

    write_file("a", "");
    cr_assert_eq(mkdir(at("dir"), 0755), 0);
    coil_scope_enter(&scope, 0);
    cr_assert_eq(coil_path_rename(AT_FDCWD, at("a"), AT_FDCWD, at("b"), 0), -ETIMEDOUT);
    cr_assert_eq(coil_path_link(AT_FDCWD, at("a"), AT_FDCWD, at("b")), -ETIMEDOUT);
    cr_assert_eq(coil_path_symlink("a", AT_FDCWD, at("b")), -ETIMEDOUT);
    cr_assert_eq(coil_path_mkdir(AT_FDCWD, at("b"), 0755), -ETIMEDOUT);
    cr_assert_eq(coil_path_unlink(AT_FDCWD, at("a")), -ETIMEDOUT);
    cr_assert_eq(coil_path_rmdir(AT_FDCWD, at("dir")), -ETIMEDOUT);
    cr_assert_eq(coil_path_stat(AT_FDCWD, at("a"), 0, &info), -ETIMEDOUT);
    cr_assert(coil_scope_leave(&scope));

    cr_assert(exists("a") && exists("dir") && !exists("b"));
}
