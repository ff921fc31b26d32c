/* SPDX-License-Identifier: MIT */
/* List: elements keep their order, leave from anywhere, and removing twice is harmless. */
#include "base/list.h"

#include <criterion/criterion.h>

TestSuite(list, .timeout = 10);

struct item {
    int before;
    struct coil__list link;
    char name;
};

static struct coil__list head;
static struct item items[3];

static void set_up(void)
{
    coil__list_init(&head);
    for (int i = 0; i < 3; i++) {
        coil__list_init(&items[i].link);
        items[i].name = (char)('a' + i);
    }
}

/* The names of the elements of `list`, in order, read in both directions. */
static const char *names(struct coil__list *list)
{
    static char text[8];
    size_t len = 0;
    size_t back = 0;

    for (struct coil__list *link = list->next; link != list; link = link->next)
        text[len++] = container_of(link, struct item, link)->name;
    text[len] = '\0';
    for (struct coil__list *link = list->prev; link != list; link = link->prev)
        cr_assert_eq(container_of(link, struct item, link)->name, text[len - ++back]);
    cr_assert_eq(back, len);
    return text;
}

Test(list, a_new_head_is_empty, .init = set_up)
{
    cr_assert(coil__list_is_empty(&head));
    cr_assert_null(coil__list_first(&head));
    cr_assert_null(coil__list_pop_front(&head));
}

Test(list, pushing_to_the_back_keeps_the_order_of_arrival, .init = set_up)
{
    for (int i = 0; i < 3; i++)
        coil__list_push_back(&head, &items[i].link);

    cr_assert_str_eq(names(&head), "abc");
    cr_assert_eq(coil__list_first(&head), &items[0].link);
    cr_assert_not(coil__list_is_empty(&head));
}

Test(list, pushing_to_the_front_reverses_it, .init = set_up)
{
    for (int i = 0; i < 3; i++)
        coil__list_push_front(&head, &items[i].link);

    cr_assert_str_eq(names(&head), "cba");
}

Test(list, popping_takes_the_first_and_leaves_it_alone, .init = set_up)
{
    coil__list_push_back(&head, &items[0].link);
    coil__list_push_back(&head, &items[1].link);

    cr_assert_eq(coil__list_pop_front(&head), &items[0].link);

    cr_assert(coil__list_is_empty(&items[0].link));
    cr_assert_str_eq(names(&head), "b");
}

Test(list, an_element_leaves_from_the_middle_and_twice_is_harmless, .init = set_up)
{
    for (int i = 0; i < 3; i++)
        coil__list_push_back(&head, &items[i].link);

    coil__list_remove(&items[1].link);
    coil__list_remove(&items[1].link);

    cr_assert_str_eq(names(&head), "ac");
    cr_assert(coil__list_is_empty(&items[1].link));
}

Test(list, counting_walks_over_all_elements, .init = set_up)
{
    cr_assert_eq(coil__list_count(&head), 0);

    for (int i = 0; i < 3; i++)
        coil__list_push_back(&head, &items[i].link);

    cr_assert_eq(coil__list_count(&head), 3);
}

Test(list, splicing_moves_all_elements_behind_those_there, .init = set_up)
{
    struct coil__list from;

    coil__list_init(&from);
    coil__list_push_back(&head, &items[0].link);
    coil__list_push_back(&from, &items[1].link);
    coil__list_push_back(&from, &items[2].link);

    coil__list_splice_back(&head, &from);

    cr_assert_str_eq(names(&head), "abc");
    cr_assert(coil__list_is_empty(&from));
}

Test(list, splicing_to_or_from_an_empty_list_works, .init = set_up)
{
    struct coil__list other;

    coil__list_init(&other);
    coil__list_splice_back(&head, &other);
    cr_assert(coil__list_is_empty(&head));

    coil__list_push_back(&other, &items[0].link);
    coil__list_splice_back(&head, &other);

    cr_assert_str_eq(names(&head), "a");
    cr_assert_str_eq(names(&other), "");
}
