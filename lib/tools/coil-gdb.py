# SPDX-License-Identifier: MIT
"""Fibers of coil in gdb, in a live process and in a core file.

    (gdb) source share/coil/coil-gdb.py
    (gdb) coil fibers          all fibers of all threads, one a line
    (gdb) coil bt 12           the backtrace of fiber 12, with arguments and lines
    (gdb) coil all-bt          the backtraces of all of them
    (gdb) coil select 12       frame 1 and up are those of fiber 12: up, info locals, ...;
                               $coil_fiber is its control block
    (gdb) coil select          frames are the thread's own again

Nothing in the process is touched. A parked fiber's registers are handed to gdb's own unwinder as if
the innermost frame had been called from where the fiber parked, so everything that works in a
backtrace works here, also without frame pointers. Needs the debug information of libcoil.

Core files must be the kernel's (a crash, abort(3), kill -ABRT): gcore gives up a stretch of memory
at the first guard page of a stack, and the stacks with it.

gdb loads this file by itself with the shared library if the directory of the library is in its
auto-load safe-path: add-auto-load-safe-path /usr/local/lib
"""
import re

import gdb
from gdb.unwinder import Unwinder, register_unwinder

# A saved context (lib/core/switch.h) is two words, the frame pointer and where the fiber continues;
# what follows them is its stack. What gdb calls these registers, and the stack pointer:
REGISTERS = {
    "i386:x86-64": ("rbp", "rip", "rsp"),
    "aarch64": ("x29", "pc", "sp"),
}
STATES = {0: "runnable", 1: "running"}
PARKED = 2


# ---- What the program holds ----

def pointer_to(name):
    try:
        return gdb.lookup_type(name).pointer()
    except gdb.error as error:
        raise gdb.GdbError("no debug information of libcoil") from error


def container_of(pointer, name, field):
    offset = next(f.bitpos // 8 for f in gdb.lookup_type(name).fields() if f.name == field)
    return gdb.Value(int(pointer) - offset).cast(pointer_to(name)).dereference()


def schedulers():
    try:
        census = gdb.parse_and_eval("coil__census")
    except gdb.error as error:
        raise gdb.GdbError("no libcoil with debug information in this program") from error
    low, high = census.type.range()
    for index in range(low, high + 1):
        address = int(census[index].cast(gdb.lookup_type("unsigned long")))
        if address:
            yield gdb.Value(address).cast(pointer_to("struct coil__sched")).dereference()


def fibers():
    """All fibers, as (scheduler, struct coil_fiber)."""
    for sched in schedulers():
        head = int(sched["registry"].address)
        link = sched["registry"]["next"]
        left = int(sched["fiber_count"])
        while int(link) not in (0, head) and left > 0:
            fiber = container_of(link, "struct coil_fiber", "registry")
            yield sched, fiber
            link = fiber["registry"]["next"]
            left -= 1


def find(text):
    found = [(sched, fiber) for sched, fiber in fibers() if str(int(fiber["id"])) == text]
    if not found:
        raise gdb.GdbError(f"no fiber {text}")
    return found


# ---- In words ----

def title(fiber):
    return f"{int(fiber['id'])} '{fiber['name'].string(errors='replace')}'"


def owner_of(tcb):
    waiter = tcb["waiter"]
    if int(waiter) == 0 or int(waiter["choice"]) or int(waiter["owner"]) == 0:
        return ""
    owner = waiter["owner"].dereference()
    if int(owner) == 0:
        return ""
    word = "of" if tcb["wait_name"].string() == "join" else "held by"
    return f" {word} {title(owner.dereference())}"


def state_of(sched, tcb):
    state = int(tcb["state"])
    if state != PARKED:
        return STATES.get(state, "in no known state")
    name = tcb["wait_name"].string() if int(tcb["wait_name"]) else "?"
    seconds = (int(sched["turn_began"]) - int(tcb["wait_since"])) / 1e9
    return f"waits for {name}{owner_of(tcb)} for {max(seconds, 0):.3f} s"


def place(return_address):
    address = int(return_address) - 1
    block = gdb.block_for_pc(address)
    while block and not block.function:
        block = block.superblock
    line = gdb.find_pc_line(address)
    where = f"{line.symtab.filename}:{line.line}" if line.symtab else f"{address:#x}"
    return f"{block.function} at {where}" if block else where


def line_of(sched, fiber):
    tcb = fiber["tcb"]
    if int(tcb) == 0:
        return f"fiber {title(fiber)}: ended"
    cancelled = ", cancelled" if tcb["is_cancelled"] else ""
    parent = f" by {int(fiber['parent_id'])}" if int(fiber["parent_id"]) else ""
    return (f"fiber {title(fiber)}: {state_of(sched, tcb)}{cancelled}, spawned in "
            f"{place(fiber['spawn_site'])}{parent}")


# ---- Unwinding ----

class FrameId:
    def __init__(self, sp, pc):
        self.sp = sp
        self.pc = pc


class FiberUnwinder(Unwinder):
    """Says of the innermost frame that it was called by a parked fiber, while one is selected."""

    def __init__(self):
        super().__init__("coil-fiber")
        self.context = None
        self.innermost = None

    def select(self, context):
        self.context = None
        gdb.invalidate_cached_frames()
        frame = gdb.newest_frame()
        self.innermost = (int(frame.read_register("sp")), int(frame.pc()))
        self.context = context
        gdb.invalidate_cached_frames()

    def __call__(self, pending):
        if self.context is None:
            return None
        here = (int(pending.read_register("sp")), int(pending.read_register("pc")))
        if here != self.innermost:
            return None
        word = gdb.lookup_type("unsigned long")
        frame, resume, stack = REGISTERS[pending.architecture().name()]
        # A frame's identity must lie below that of its caller.
        info = pending.create_unwind_info(
            FrameId(gdb.Value(self.context - 16).cast(word), gdb.Value(here[1]).cast(word)))
        saved = gdb.Value(self.context).cast(word.pointer())
        info.add_saved_register(frame, gdb.Value(int(saved[0])).cast(word))
        info.add_saved_register(resume, gdb.Value(int(saved[1])).cast(word))
        info.add_saved_register(stack, gdb.Value(self.context + 2 * word.sizeof).cast(word))
        return info


UNWINDER = FiberUnwinder()
register_unwinder(None, UNWINDER, replace=True)


def has_frame_between(low, high):
    """Whether the selected thread is on this stack, or was when a signal handler took over."""
    frame = gdb.newest_frame()
    while frame:
        if low <= int(frame.read_register("sp")) < high:
            return True
        while frame and frame.type() != gdb.SIGTRAMP_FRAME:
            frame = frame.older()
        frame = frame.older() if frame else None
    return False


def thread_on(sched, tcb):
    """The thread that is on this fiber's stack, or in the guard below it, if any."""
    stacks = sched["stacks"]
    high = int(tcb["stack_top"])
    low = high - int(stacks["usable_size"]) - int(stacks["guard_size"])
    for thread in gdb.selected_inferior().threads():
        thread.switch()
        if has_frame_between(low, high):
            return thread
    return None


def backtrace_of(sched, fiber):
    tcb = fiber["tcb"]
    if int(tcb) == 0:
        return "ended"
    selected = gdb.selected_thread()
    try:
        # One that has something done on the loop's stack waits there as if it were parked.
        if int(tcb["state"]) == 1 and int(sched["current"]):
            if thread_on(sched, tcb) is None:
                return "running, but no thread is on its stack"
            return gdb.execute("bt", to_string=True).rstrip()
        UNWINDER.select(int(tcb["context"]))
        lines = gdb.execute("bt", to_string=True).rstrip().split("\n")
        first = next((i for i, line in enumerate(lines) if line.startswith("#1 ")), len(lines))
        return "\n".join(re.sub(r"^#(\d+) ( ?)", lambda m: f"#{int(m[1]) - 1:<3}", line)
                         for line in lines[first:])
    finally:
        UNWINDER.context = None
        if selected:
            selected.switch()
        gdb.invalidate_cached_frames()


# ---- Commands ----

class Coil(gdb.Command):
    """Fibers of coil: coil fibers, coil bt ID, coil all-bt, coil select [ID]."""

    def __init__(self):
        super().__init__("coil", gdb.COMMAND_STACK, gdb.COMPLETE_NONE, True)


class Fibers(gdb.Command):
    """coil fibers: all fibers of all threads, one a line."""

    def __init__(self):
        super().__init__("coil fibers", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        for sched, fiber in fibers():
            print(line_of(sched, fiber))


class Backtrace(gdb.Command):
    """coil bt ID: the backtrace of a fiber."""

    def __init__(self):
        super().__init__("coil bt", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        for sched, fiber in find(argument.strip()):
            print(line_of(sched, fiber))
            print(backtrace_of(sched, fiber))


class AllBacktraces(gdb.Command):
    """coil all-bt: the backtraces of all fibers."""

    def __init__(self):
        super().__init__("coil all-bt", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        for sched, fiber in fibers():
            print(line_of(sched, fiber))
            print(backtrace_of(sched, fiber) + "\n")


class Select(gdb.Command):
    """coil select [ID]: frame 1 and up are those of a parked fiber; without ID the thread's own."""

    def __init__(self):
        super().__init__("coil select", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        if not argument.strip():
            UNWINDER.context = None
            gdb.invalidate_cached_frames()
            return
        _, fiber = find(argument.strip())[0]
        tcb = fiber["tcb"]
        if int(tcb) == 0 or int(tcb["state"]) == 1:
            raise gdb.GdbError("this fiber is not parked")
        UNWINDER.select(int(tcb["context"]))
        gdb.set_convenience_variable("coil_fiber", tcb)
        print(f"frame 1 and up are those of fiber {title(fiber)}")


for command in (Coil, Fibers, Backtrace, AllBacktraces, Select):
    command()
