# SPDX-License-Identifier: GPL-3.0-or-later
"""completion.py FOLDER COMPLETIONS...: a bash with these files of completions, in a terminal, in FOLDER.

Each line of standard input is typed there, and all that bash would complete its last word to is put in its
place (insert-completions); the words that the line has then are printed, on one line.
"""
import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time

PROMPT = b"@ready@"
LIMIT_S = 30  # for one line, on a machine with other things to do

folder, files = os.path.abspath(sys.argv[1]), [os.path.abspath(file) for file in sys.argv[2:]]
inputrc = os.path.join(folder, "inputrc")
answer = os.path.join(folder, "answer")
with open(inputrc, "w", encoding="ascii") as out:
    out.write('set enable-bracketed-paste off\nset bell-style none\n"\\C-t": insert-completions\n')
shell = os.path.join(folder, "shell")
with open(shell, "w", encoding="ascii") as out:
    out.write("".join(f". '{file}'\n" for file in files))
    out.write("PROMPT_COMMAND='printf @ready@'\n") # the prompt itself is drawn again and again
    out.write(f"answer() {{ printf '%s\\n' \"$*\" >'{answer}'; }}\nPS1= HISTFILE=\n")

environment = {**os.environ, "INPUTRC": inputrc, "TERM": "dumb", "LC_ALL": "C"}
place = os.path.join(folder, "in")
os.makedirs(place, exist_ok=True)
pid, terminal = pty.fork()
if pid == 0:
    os.chdir(place)
    os.execvpe("bash", ["bash", "--noprofile", "--rcfile", shell, "-i"], environment)
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 4000, 0, 0))


def until_prompt():
    seen = b""
    deadline = time.monotonic() + LIMIT_S
    while PROMPT not in seen:
        if not select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0]:
            sys.exit(f"bash does not come back: {seen!r}")
        seen += os.read(terminal, 65536)


def type_in(text):
    text = text.encode()
    while text:
        text = text[os.write(terminal, text):]


until_prompt()
for line in sys.stdin:
    line = line.rstrip("\n")
    # behind the line: complete; to its beginning; what shows the words; enter
    type_in(line + "\x14\x01answer \n")
    until_prompt()
    with open(answer, encoding="ascii") as result:
        print(result.read(), end="", flush=True)
    os.unlink(answer)
type_in("exit\n")
os.waitpid(pid, 0)
