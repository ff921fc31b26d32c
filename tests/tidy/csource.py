# SPDX-License-Identifier: MIT
"""What the rules of tests/tidy need to know of a C file, without a compiler.

A Source keeps each file three times, line for line equal: as it is, as code (comments and the
insides of literals blanked) and as comments. Functions are found by the house format, which
clang-format has already checked: the brace that opens a body stands alone in the first column.
"""
import functools
import re

INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')
# Comment, string or character literal; everything else is code.
LEXEME = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
NAME_BEFORE_PAREN = re.compile(r"(\w+)\s*\(")
ATTRIBUTES = {"__attribute__", "COIL_PRINTF", "COIL_MUST_CHECK"}


def blank(text):
    return re.sub(r"[^\n]", " ", text)


class Function:
    """A definition: `line` is where its signature begins, `length` counts the braces' lines too."""

    def __init__(self, signature, line, body, length):
        self.signature = signature
        self.line = line
        self.body = body
        self.length = length
        names = [n for n in NAME_BEFORE_PAREN.findall(signature) if n not in ATTRIBUTES]
        self.name = names[0] if names else ""
        self.is_static = bool(re.search(r"\bstatic\b", signature))

    def holds(self, line):
        return self.body <= line < self.body + self.length


class Source:
    def __init__(self, root, path):
        self.path = path.relative_to(root).as_posix()
        self.text = path.read_text(encoding="utf-8")
        self.lines = self.text.split("\n")
        if self.lines[-1] == "":
            self.lines.pop()

    @functools.cached_property
    def is_c(self):
        return self.path.endswith((".c", ".h"))

    @functools.cached_property
    def top(self):
        """The top-level folder, or "" for a file outside all folders."""
        return self.path.split("/")[0] if "/" in self.path else ""

    @functools.cached_property
    def area(self):
        """The second folder: the layer of a file of lib/."""
        parts = self.path.split("/")
        return parts[1] if len(parts) > 2 else ""

    @functools.cached_property
    def comments(self):
        """List of (first line, text)."""
        return [(self.text.count("\n", 0, m.start()) + 1, m.group())
                for m in LEXEME.finditer(self.text) if m.group().startswith("/")]

    @functools.cached_property
    def code(self):
        """The lines without comments and without what stands inside literals."""
        def replace(match):
            text = match.group()
            return blank(text) if text[0] == "/" else text[0] + blank(text[1:-1]) + text[-1]

        return LEXEME.sub(replace, self.text).split("\n")[:len(self.lines)]

    @functools.cached_property
    def includes(self):
        """List of (line, is_quoted, name)."""
        found = []
        for number, (line, code) in enumerate(zip(self.lines, self.code), 1):
            match = INCLUDE.match(line)
            if match and code.lstrip().startswith("#"):
                found.append((number, match.group(1) == '"', match.group(2)))
        return found

    @functools.cached_property
    def macros(self):
        """List of (line, name, body), continuation lines joined."""
        found = []
        for number, line in enumerate(self.code, 1):
            match = re.match(r"\s*#\s*define\s+(\w+)(\([^)]*\))?", line)
            if not match:
                continue
            body, last = line[match.end():], number
            while body.endswith("\\") and last < len(self.code):
                body = body[:-1] + "\n" + self.code[last]
                last += 1
            found.append((number, match.group(1), body))
        return found

    @functools.cached_property
    def functions(self):
        found = []
        number = 0
        while number < len(self.code):
            if self.code[number].rstrip() == "{":
                begin = self.signature_line(number)
                end = number
                while end + 1 < len(self.code) and not self.code[end].startswith("}"):
                    end += 1
                signature = " ".join(self.code[begin:number])
                found.append(Function(signature, begin + 1, number + 1, end - number + 1))
                number = end
            number += 1
        return found

    def signature_line(self, brace):
        """Walks up from the brace of a body to the first line of its signature."""
        line = brace
        while line > 0:
            above = self.code[line - 1].strip()
            if not above or above[0] == "#" or above[-1] in ";}":
                break
            line -= 1
        return line

    @functools.cached_property
    def essay(self):
        """The comment that opens the file after the licence line, or ""."""
        for first, text in self.comments[:2]:
            if first == 2:
                return text
        return ""
