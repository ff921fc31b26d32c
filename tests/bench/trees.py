# SPDX-License-Identifier: MIT
"""Build trees of programs that say what a measurement would have given, for the tests of bench/."""

import contextlib
import io
import json
import pathlib
import sys
import tempfile
import types
import unittest
import unittest.mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench"))
import harness

CASES = [("yield", "yield_2", "yield, 2 fibers", None), ("yield", "yield_64", "yield, 64", None),
         ("sem", "sem_free", "semaphore", None)]


def options(**changed):
    return types.SimpleNamespace(**{"rounds": 6, "repeat": 1, "count": 10000, "only": None,
                                    **changed})


def printed_by(function, *arguments):
    """What a call printed, and what it returned."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        result = function(*arguments)
    return output.getvalue(), result


class Trees(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name).resolve()
        self.log = self.root / "log"
        errors = contextlib.redirect_stderr(io.StringIO())
        errors.__enter__()
        self.addCleanup(errors.__exit__, None, None, None)

    def make(self, name, programs, build_type="Release"):
        """A checkout NAME whose programs, built in .build/release, print {case: ns}."""
        tree = self.root / name / ".build" / "release"
        (tree / "bench").mkdir(parents=True)
        (self.root / name / "bench").mkdir()
        (tree / "CMakeCache.txt").write_text(
            "# a comment\n//Choose\n\n"
            f"CMAKE_BUILD_TYPE:STRING={build_type}\n"
            f"CMAKE_HOME_DIRECTORY:INTERNAL={self.root / name}\n"
            "CMAKE_C_FLAGS:STRING=-DX=1\n")
        for program, cases in programs.items():
            # The case is the word after --only.
            printed = "\n".join(f"{case}) echo '{json.dumps({case: [ns]})}';;"
                                for case, ns in cases.items())
            self.write(tree / "bench" / program,
                       f"echo {name} $2 >>{self.log}\n"
                       f"case $2 in\n{printed}\n*) echo '{{}}';;\nesac\n")
        return tree

    def write(self, path, script):
        """An executable shell script."""
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)

    def run_main(self, benchmark, *words):
        """What a benchmark printed, and the numbers that it wrote, to a folder of the test's."""
        results = self.root / ".build" / "bench"
        results.mkdir(parents=True, exist_ok=True)
        with unittest.mock.patch.multiple(harness, ROOT=self.root, RESULTS=results,
                                          prepare=lambda: None):
            printed, _ = printed_by(benchmark.main, [str(word) for word in words])
        name = pathlib.Path(benchmark.__file__).stem
        return printed, json.loads((results / f"{name}.json").read_text())
