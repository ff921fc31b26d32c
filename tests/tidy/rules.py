# SPDX-License-Identifier: MIT
"""The house rules, one function each: rule(tree) yields (path, line, message).

The name of a rule is its function's name with dashes; `/* tidy: allow NAME: reason */` on the line
excuses that line. Each rule has planted faults in tests/tidy/selftest, which also fails when a rule
has none.
"""
import re
import unicodedata

RULES = {}
COLUMNS = 100
FILE_LINES = 600
FUNCTION_LINES = 70


def rule(function):
    RULES[function.__name__.replace("_", "-")] = function
    return function


def search(source, pattern, lines):
    for number, line in enumerate(lines, 1):
        for match in re.finditer(pattern, line):
            yield source.path, number, match


# ---- Who may include whom ----

LAYERS = ["base", "engine", "core", "sync", "io", "net", "http"]
# Public headers whose layer no file of the same name in lib/ shows.
PUBLIC_LAYERS = {"base": "base", "version": "base", "error": "base", "time": "base", "log": "base",
                 "run": "core", "coil": "tools"}


def layer_rank(layer):
    return LAYERS.index(layer) if layer in LAYERS else len(LAYERS)


def layer_of_public(tree, name):
    stem = name.split("/")[-1].removesuffix(".h")
    if stem in PUBLIC_LAYERS:
        return PUBLIC_LAYERS[stem]
    layers = {s.area for s in tree.under("lib") if re.search(rf"/{stem}\.[ch]$", s.path)}
    return min(layers, key=layer_rank) if layers else "base"


def include_error_in_lib(tree, source, is_quoted, name):
    if re.search(r"(^|/)(liburing|io_uring)\.h$", name):
        return "only lib/engine knows io_uring" if source.area != "engine" else None
    if name.startswith("coil/"):
        layer = layer_of_public(tree, name)
    elif is_quoted:
        if not tree.exists("lib/" + name):
            return 'no such header; names begin below lib/, as in "core/sched.h"'
        layer = name.split("/")[0]
    else:
        return None
    if source.area == "tools":
        return None
    if source.area == "green":
        allowed = name.startswith("coil/") or name == "core/waitq.h" or layer == "green"
        return None if allowed else "green sees public headers and core/waitq.h"
    if source.area == "engine" and layer not in ("base", "engine"):
        return "engine includes base alone: give it a function or a table at init"
    if source.area == "http" and layer == "net" and is_quoted and name != "net/stream.h":
        return "http reaches the network through stream.h only"
    if layer_rank(layer) > layer_rank(source.area):
        return f"{source.area} is below {layer}: an upward call needs an operation table"
    return None


def include_error(tree, source, is_quoted, name):
    if source.top == "lib":
        return include_error_in_lib(tree, source, is_quoted, name)
    if source.top == "include":
        private = is_quoted or "liburing" in name or name.startswith("linux/")
        return "a public header includes <coil/...> and POSIX only" if private else None
    if source.top in ("demos", "bench"):
        is_raw = source.top == "bench" and re.match(r"bench/raw(_\w+)?\.[ch]$", source.path)
        if "liburing" in name:
            return None if is_raw else "only the raw programs of bench/ see io_uring"
        is_inside = is_raw and tree.exists(f"lib/{name}")
        if is_quoted and not is_inside and not tree.exists(f"{source.top}/{name}"):
            return f"{source.top} sees <coil/...> only, as a user does"
    return None


@rule
def include_direction(tree):
    for source in tree.c_files:
        for line, is_quoted, name in source.includes:
            message = include_error(tree, source, is_quoted, name)
            if message:
                yield source.path, line, f"{name}: {message}"


def header_graph(tree):
    graph = {}
    for source in tree.under("lib", "include"):
        if not source.path.endswith(".h"):
            continue
        edges = [(line, f"lib/{name}" if is_quoted else f"include/{name}")
                 for line, is_quoted, name in source.includes]
        graph[source.path] = [e for e in edges if tree.exists(e[1])]
    return graph


@rule
def header_cycle(tree):
    graph, state = header_graph(tree), {}

    def visit(path):
        state[path] = "open"
        for line, target in graph.get(path, []):
            if state.get(target) == "open":
                yield path, line, f"{target} includes this header, directly or through others"
            elif target not in state:
                yield from visit(target)
        state[path] = "done"

    for path in graph:
        if path not in state:
            yield from visit(path)


# ---- Preprocessor ----

DECLARATION = re.compile(
    r"(?:^|[;{])\s*(?:(?:const|static|volatile|register)\s+)*"
    r"(?:(?:struct|enum|union)\s+\w+|unsigned(?:\s+\w+)?|int|long|char|bool|void|size_t|ssize_t|"
    r"u?int\d+_t|__typeof__\s*\([^)]*\)|typeof\s*\([^)]*\)|coil_\w+)\s*(?:\*\s*|\s)(?:const\s+)?"
    r"\w+\s*(?:=[^=]|;|\[)")


@rule
def macro_control_flow(tree):
    for source in tree.c_files:
        for line, name, body in source.macros:
            match = re.search(r"\b(return|goto|break|continue)\b", body)
            if match:
                yield source.path, line, f"{name} hides a {match.group()}: write a function"
            elif source.top != "tests" and DECLARATION.search(body):
                yield source.path, line, f"{name} hides a declaration: write a function"


@rule
def conditional_in_function(tree):
    for source in tree.c_files:
        for path, line, match in search(source, r"^\s*#\s*(if|ifdef|ifndef|elif|else)\b",
                                        source.code):
            if any(f.holds(line) for f in source.functions):
                yield path, line, (f"#{match.group(1)} inside a function: choose a file in CMake, "
                                   "or an empty inline function in one header")


@rule
def disabled_code(tree):
    for source in tree.c_files:
        for path, line, _ in search(source, r"^\s*#\s*if\s+0\b", source.code):
            yield path, line, "#if 0: delete it, git remembers"


# ---- Names ----

MACROS_IN_LOWER_CASE = re.compile(r"^(list_for_each\w*|container_of|_GNU_SOURCE)$")


@rule
def macro_prefix(tree):
    for source in tree.under("lib", "include"):
        if not source.path.endswith(".h"):
            continue
        for line, name, _ in source.macros:
            if not name.startswith("COIL_") and not (
                    source.top == "lib" and MACROS_IN_LOWER_CASE.match(name)):
                yield source.path, line, f"macro {name} in a header needs the prefix COIL_"


@rule
def name_prefix(tree):
    public = {name for _, _, name in tree.public_functions}
    for source in tree.under("lib"):
        for path, line, match in search(source, r"^\s*\.(?:globl|global)\s+(\w+)", source.code):
            if not match.group(1).startswith("coil_"):
                yield path, line, f"exported {match.group(1)} needs the prefix coil__"
        for function in source.functions if source.is_c else []:
            name = function.name
            if function.is_static or not name:
                continue
            if not name.startswith("coil_"):
                yield source.path, function.line, f"{name}: make it static or name it coil__{name}"
            elif not name.startswith("coil__") and name not in public:
                yield source.path, function.line, (
                    f"{name}: no public header declares it; internal names begin with coil__")


# ---- Comments ----

@rule
def licence_line(tree):
    for source in tree.c_files + tree.assembly:
        if not source.lines or source.lines[0] != "/* SPDX-License-Identifier: MIT */":
            yield source.path, 1, "the first line is /* SPDX-License-Identifier: MIT */"


@rule
def opening_essay(tree):
    for source in tree.c_files + tree.assembly:
        has_header = source.path.endswith(".c") and tree.exists(source.path[:-1] + "h")
        least = 1 if source.top == "tests" or has_header else 4
        if source.essay.count("\n") + 1 < least or not source.essay:
            yield source.path, 2, (f"line 2 opens an essay of {least} lines or more: what it is, "
                                   "how it works, the invariant it keeps")


@rule
def file_length(tree):
    for source in tree.c_files:
        if len(source.lines) > FILE_LINES and "This file is long because" not in source.essay:
            yield source.path, FILE_LINES + 1, (
                f"{len(source.lines)} lines: split it, or say in the essay 'This file is long "
                "because ...'")


@rule
def function_length(tree):
    for source in tree.c_files:
        for function in source.functions:
            if function.length > FUNCTION_LINES:
                yield source.path, function.line, (
                    f"{function.name} has {function.length} lines, {FUNCTION_LINES} are the limit")


@rule
def unfinished(tree):
    for source in tree.sources:
        if source.path.startswith("tests/tidy/"):  # quotes what it forbids
            continue
        for path, line, match in search(source, r"\b(TODO|FIXME|XXX|HACK)\b", source.lines):
            yield path, line, f"{match.group()}: do it, or file an issue"


# A whole line of a comment that is: an assignment, a call, a jump, a branch or a directive.
CODE_IN_COMMENT = re.compile("|".join(rf"^(?:{pattern})$" for pattern in (
    r"(?:\w+[\s*]+)?[\w>.\[\]-]+\s*[-+*/|&]?=[^=].*;",
    r"[\w>.-]+\(.*\);",
    r"(?:break|continue|goto \w+);",
    r"return\b(?:\s+[\w>.-]+|.*(?:[()=&|]| [-+*/%<>] ).*)?;",
    r"(?:\}\s*)?else\b.*\{",
    r"\}?\s*(?:if|for|while|switch) ?\(.*\)(?:\s*\{|.*;)",
    r"#\s*(?:if|ifdef|define|include)\b.*")))


@rule
def commented_out_code(tree):
    """The essay and the public headers may show examples; elsewhere a comment is prose."""
    for source in tree.c_files:
        if source.top == "include":
            continue
        for first, text in source.comments:
            if text == source.essay:
                continue
            for offset, line in enumerate(text.split("\n")):
                prose = re.sub(r"^\s*(/\*+|\*(?!/)|//)?\s*|\s*\*/\s*$", "", line)
                if CODE_IN_COMMENT.match(prose):
                    yield source.path, first + offset, "commented-out code: delete it"


@rule
def doc_comment(tree):
    for source, line, name in tree.public_functions:
        above = line - 2
        while above >= 0 and source.code[above].strip() and not source.code[above].strip().endswith(
                (";", "}")):
            above -= 1
        comments = [text for first, text in source.comments
                    if first + text.count("\n") == above + 1]
        if not comments or not comments[-1].startswith("/**"):
            yield source.path, line, f"{name} needs a /** comment above: the header is the manual"


# ---- Sizes ----

TYPE = r"^typedef struct (\w+) (?:(\w+);|\{)"
SIZE = r"^COIL_STATIC_ASSERT\(sizeof\((?:struct )?(\w+)\) [=<]= (\d+),"


def prose(source):
    """The comments of a file as running text."""
    return re.sub(r"\s*\n \*\s*", " ", "\n".join(text for _, text in source.comments))


@rule
def size_of_type(tree):
    """Users can count what coil takes. Options may grow; their size is a field."""
    types = {match[2] or match[1]: (source, line) for source in tree.under("include")
             for _, line, match in search(source, TYPE, source.code)}
    asserted = set()
    for source in tree.under("lib"):
        for path, line, match in search(source, SIZE, source.code):
            name, size = match[1], f"{int(match[2]):,} bytes"
            asserted.add(name)
            if name in types and not re.search(rf"(?<![\d,]){size}", prose(types[name][0])):
                yield path, line, f"{types[name][0].path} does not say {size}"
    for name, (source, line) in types.items():
        if name not in asserted and not name.endswith("options"):
            yield source.path, line, (f"{name}: say its size above, and in lib/ "
                                      f"COIL_STATIC_ASSERT(sizeof({name}) == ...")


# ---- Calls ----

BANNED = {
    "strcpy": "memcpy with a checked length", "strcat": "memcpy with a checked length",
    "sprintf": "snprintf", "vsprintf": "vsnprintf", "gets": "fgets",
    "atoi": "strtol with its end checked", "atol": "strtol with its end checked",
    "strerror": "coil_strerror, or strerrordesc_np in a program without coil",
    "localtime": "localtime_r", "gmtime": "gmtime_r",
    "asctime": "strftime", "ctime": "strftime", "strtok": "strtok_r",
    "gethostbyname": "getaddrinfo in an offload job", "signal": "sigaction",
    "alloca": "an array with a limit, or the heap", "usleep": "coil_sleep",
}
BLOCKING = {
    "read": "coil_read or an operation of the engine", "connect": "coil_connect",
    "poll": "an operation of the engine", "select": "an operation of the engine",
    "sleep": "coil_sleep", "nanosleep": "coil_sleep",
    "getaddrinfo": "an offload job",
}


def calls(source, names):
    pattern = r"(?<![\w.>])(" + "|".join(names) + r")\s*\("
    yield from search(source, pattern, source.code)


@rule
def banned_call(tree):
    for source in tree.c_files:
        if source.top not in ("lib", "demos", "bench"):
            continue
        for path, line, match in calls(source, BANNED):
            yield path, line, f"{match.group(1)}: use {BANNED[match.group(1)]}"


@rule
def blocking_call(tree):
    for source in tree.under("lib"):
        if source.area in ("engine", "core") or source.path == "lib/io/offload.c":
            continue
        for path, line, match in calls(source, BLOCKING):
            yield path, line, f"{match.group(1)} stops every fiber: use {BLOCKING[match.group(1)]}"


@rule
def sleep_in_test(tree):
    for source in tree.under("tests"):
        for path, line, match in calls(source, ["sleep", "usleep", "nanosleep"]):
            yield path, line, f"{match.group(1)}: wait for the event, not for time to pass"


# ---- Dead files ----

def is_built(source, cmake):
    inside, name = source.path.split("/", 1)[1], source.path.split("/")[-1]
    if re.search(rf"(^|\s)({re.escape(inside)}|{re.escape(name)})($|[\s)])", cmake):
        return True
    stem = name.rsplit(".", 1)[0]
    if source.top in ("demos", "bench"):
        function = r"\bcoil_(demo|bench|bench_raw|bench_inside)"
        return bool(re.search(rf"{function}\(\s*{stem}[\s)]", cmake))
    if source.top == "tests" and source.area == "fuzz":
        return bool(re.search(rf"\bcoil_fuzz\(\s*{stem.removeprefix('fuzz_')}[\s)]", cmake))
    name = stem.removeprefix("test_")
    return bool(re.search(rf"\bcoil_(program_)?test\(\s*{source.area}\s+{name}[\s)]", cmake))


@rule
def source_not_built(tree):
    for source in tree.c_files + tree.assembly:
        if source.path.endswith(".h"):
            continue
        cmake = tree.cmake_text(source.top)
        if not is_built(source, cmake):
            yield source.path, 1, f"{source.top}/CMakeLists.txt does not name it"


@rule
def header_not_included(tree):
    included = {name for s in tree.c_files + tree.assembly for _, _, name in s.includes}
    public = {name for s in tree.under("include") for _, _, name in s.includes}
    for source in tree.c_files:
        if not source.path.endswith(".h"):
            continue
        if source.top == "include":
            name = source.path.removeprefix("include/")
            if name not in public and name != "coil/coil.h" and "/ext/" not in name:
                yield source.path, 1, "coil/coil.h includes every public header, but not this one"
            continue
        inside = source.path.split("/", 1)[1]
        if inside not in included and inside.split("/")[-1] not in included:
            yield source.path, 1, "nobody includes it: delete it"


# ---- What the tables of the READMEs name ----

def test_names(tree):
    tests = {"/".join(match) for s in tree.under("tests")
             for match in re.findall(r"\b(?:FIBER_TEST|FIBER_TEST_WITH|Test)\(\s*(\w+),\s*(\w+)",
                                     s.text)}
    programs = re.findall(r"\bcoil_(?:program_)?test\(\s*(\w+)\s+(\w+)", tree.cmake_text("tests"))
    return tests | {"/".join(match) for match in programs}


@rule
def unknown_test(tree):
    source = tree.find("tests/README.md")
    known = test_names(tree)
    suite = ""
    for path, line, match in search(source, r"`([a-z_]+|\.\.\.)/([a-z0-9_]+)`",
                                    source.lines if source else []):
        suite = suite if match[1] == "..." else match[1]
        if source.lines[line - 1].startswith("|") and f"{suite}/{match[2]}" not in known:
            yield path, line, f"there is no test {suite}/{match[2]}"


@rule
def unknown_function(tree):
    source = tree.find("lib/README.md")
    words = {word for s in tree.under("include") for word in re.findall(r"\bcoil_\w+", s.text)}
    for path, line, match in search(source, r"\bcoil_[a-z]\w*", source.lines if source else []):
        if source.lines[line - 1].startswith("|") and match.group() not in words:
            yield path, line, f"no public header has {match.group()}"


# ---- Layout of lines ----

def columns(line):
    return sum(0 if unicodedata.combining(c) else
               2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


@rule
def line_length(tree):
    for source in tree.sources:
        if source.path.endswith((".md", ".json")):
            continue
        for number, line in enumerate(source.lines, 1):
            if columns(line) > COLUMNS:
                yield source.path, number, f"{columns(line)} columns, {COLUMNS} are the limit"


@rule
def blanks(tree):
    for source in tree.sources:
        for path, line, match in search(source, r"[ \t\r]+$|\t", source.lines):
            yield path, line, "a tab" if match.group() == "\t" else "blanks at the end of the line"
        if source.text and not source.text.endswith("\n"):
            yield source.path, len(source.lines), "no newline at the end of the file"
