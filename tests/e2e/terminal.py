"""Runs a program at a terminal of 101 columns and 33 rows, types a line when it has prompted, and prints what it shows.

  terminal.py LINE PROGRAM [ARGUMENT...]

ends with "status N" and "modes restored" if the program left the terminal as it found it.
"""
import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time

line, program = sys.argv[1], sys.argv[2:]
terminal, inside = pty.openpty()
fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 101, 0, 0))
before = termios.tcgetattr(inside)
child = os.fork()
if child == 0:
    os.setsid()
    fcntl.ioctl(inside, termios.TIOCSCTTY, 0)
    for fd in (0, 1, 2):
        os.dup2(inside, fd)
    os.execvp(program[0], program)

deadline, seen, typed, status = time.monotonic() + 30, b"", False, None
while time.monotonic() < deadline and status is None:
    if select.select([terminal], [], [], 0.2)[0]:
        shown = os.read(terminal, 65536)
        seen += shown
        sys.stdout.buffer.write(shown)
        sys.stdout.flush()
        if not typed and (b"# " in seen or b"$ " in seen):
            os.write(terminal, line.encode() + b"\r")
            typed = True
        continue
    done, code = os.waitpid(child, os.WNOHANG)
    if done:
        status = os.waitstatus_to_exitcode(code)
if status is None:
    os.kill(child, 9)
print(f"\nstatus {status}")
if termios.tcgetattr(inside) == before:
    print("modes restored")
