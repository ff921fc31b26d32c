# SPDX-License-Identifier: MIT
"""The files of the project as tests/tidy and tests/api see them."""
import functools
import re

from csource import Source

FOLDERS = ("lib", "include", "demos", "bench", "tests")
TEXTS = (".c", ".h", ".S", ".py", ".sh", ".cmake", ".md", ".json", ".in", ".map", ".txt", "/run",
         "/tidy", "/selftest")


class Tree:
    """The files of the project, read once."""

    def __init__(self, root):
        self.root = root
        paths = [p for folder in FOLDERS for p in sorted((root / folder).rglob("*"))]
        paths += [p for kind in ("*.md", "*.txt", "*.json") for p in sorted(root.glob(kind))]
        self.sources = [Source(root, p) for p in paths
                        if p.is_file() and p.as_posix().endswith(TEXTS) and "corpus" not in p.parts]

    def under(self, *tops):
        return [s for s in self.sources if s.top in tops and s.path.endswith((".c", ".h", ".S"))]

    def exists(self, path):
        return (self.root / path).is_file()

    def find(self, path):
        return next((s for s in self.sources if s.path == path), None)

    def cmake_text(self, top):
        """All CMake lists below a folder, without comments."""
        lists = [s.text for s in self.sources
                 if s.top == top and s.path.endswith(("CMakeLists.txt", ".cmake"))]
        return re.sub(r"#[^\n]*", "", "\n".join(lists))

    @functools.cached_property
    def c_files(self):
        return [s for s in self.under(*FOLDERS) if s.is_c]

    @functools.cached_property
    def assembly(self):
        return [s for s in self.under(*FOLDERS) if not s.is_c]

    @functools.cached_property
    def public_functions(self):
        """List of (header, line, name) of the declarations marked COIL_API."""
        found = []
        for source in self.under("include"):
            for number, line in enumerate(source.code, 1):
                if not re.search(r"\bCOIL_API\b", line) or line.lstrip().startswith("#"):
                    continue
                rest = " ".join(source.code[number - 1:number + 5]).split("COIL_API", 1)[1]
                rest = re.sub(r"\bCOIL_PRINTF\s*\([^)]*\)", "", rest)
                match = re.search(r"(\w+)\s*[(;\[]", rest)
                found.append((source, number, match.group(1) if match else "?"))
        return found
