#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Who opens a file that another mount has just made longer or shorter reads it whole, also while the
# kernel remembers the size that it had: because it takes no other answer than that for the one that
# counts (overtaken), or because the contents came with a change of the name (renamed, linked).
. "$(dirname "$0")/lib.sh"
need_fuse

cat >"$work/read.py" <<'END'
import os, sys
top, other, how = sys.argv[1:]
with open(other + "/file", "w") as file:
    file.write("first\n")
texts = ["first\n"]
for number in range(60):
    texts.append("%d %s\n" % (number, "x" * (number * 37 % 200)))
    os.stat(top + "/file")
    with open(other + "/file", "w") as file:
        file.write(texts[-1])
    flags = os.O_RDWR | (os.O_CREAT if number % 3 == 0 else 0)
    fd = os.open(top + "/file", flags if number % 2 else os.O_RDONLY)
    read = os.read(fd, 1000).decode()
    os.close(fd)
    # a watch may tell of the change a moment later: then it is still the version before
    if read != texts[-1] and (how == "nowatch" or read not in texts):
        sys.exit("%d: %r instead of %r" % (number, read, texts[-1]))
    # an append ends at the end
    if how == "nowatch":
        with open(other + "/file", "a") as file:
            file.write("y" * (number + 1))
        texts[-1] += "y" * (number + 1)
        fd = os.open(top + "/file", os.O_WRONLY | os.O_APPEND)
        os.write(fd, b"end\n")
        if os.lseek(fd, 0, os.SEEK_CUR) != len(texts[-1]) + 4:
            sys.exit("%d: %d" % (number, os.lseek(fd, 0, os.SEEK_CUR)))
        os.close(fd)
        texts[-1] += "end\n"
END
# The file is open here, and longer elsewhere, as a lookup has shown; then it gets another name, for
# which the mount takes over the newer contents.
cat >"$work/renamed.py" <<'END'
import os, sys, time
top, other, how = sys.argv[1:]
texts = ["first\n", "second " + "y" * 100 + "\n"]
with open(other + "/" + how, "w") as file:
    file.write(texts[0])
fd = os.open(top + "/" + how, os.O_RDWR)
with open(other + "/" + how, "w") as file:
    file.write(texts[1])
time.sleep(1.1)  # entry_timeout
os.stat(top + "/" + how)  # so that the kernel is told the size of the open file just now
getattr(os, how)(top + "/" + how, top + "/" + how + "2")
read = os.read(fd, 1000).decode()
read += os.read(fd, 1000).decode()
if read not in texts:
    sys.exit("%s: %r" % (how, read))
END
# The kernel asks for the size twice at once, under two names. The answer to the later question comes
# first, and tells the older size; so the kernel takes no notice of the other one.
cat >"$work/overtaken.py" <<'END'
import os, signal, sys, threading, time
top, other = sys.argv[1] + "/o" + sys.argv[3], sys.argv[2] + "/o" + sys.argv[3]
nodes = [int(pid) for pid in sys.argv[4:]]
os.mkdir(other)
texts = ["first\n", "second " + "y" * 100 + "\n"]
with open(other + "/one", "w") as file:
    file.write(texts[0])
os.mkdir(other + "/d")
os.link(other + "/one", other + "/d/two")
one, d = os.open(top + "/one", os.O_PATH), os.open(top + "/d", os.O_PATH)
with open(other + "/one", "w") as file:
    file.write(texts[1])
time.sleep(2.2)  # attr_timeout
sizes = []
for pid in nodes:
    os.kill(pid, signal.SIGSTOP)
thread = threading.Thread(target=lambda: sizes.append(os.stat("two", dir_fd=d).st_size))
thread.start()
time.sleep(float(sys.argv[3]))  # or too short for the thread to ask: the caller sees that
sizes.append(os.fstat(one).st_size)  # from memory, for entry_timeout
for pid in nodes:
    os.kill(pid, signal.SIGCONT)
thread.join()
fd = os.open("two", os.O_RDWR, dir_fd=d)
read = os.read(fd, 1000).decode()
if read != texts[1]:
    sys.exit("sizes %r, read %r" % (sizes, read))
print(*sizes)
END
cluster_up 3
for how in nowatch watch; do
    options=$([ $how = watch ] || echo nowatch)
    mount_up "$mnt" "$options"
    mount_up "$other" "$options"
    /usr/bin/python3 "$work/read.py" "$mnt" "$other" $how || fail "$how"
    rm "$mnt/file"
    two_mounts_down
done
mount_up "$mnt" nowatch
mount_up "$other" nowatch
for how in rename link; do
    /usr/bin/python3 "$work/renamed.py" "$mnt" "$other" $how || fail "$how"
done
two_mounts_down
mount_up "$mnt" nowatch,entry_timeout=20,attr_timeout=2
mount_up "$other" nowatch
for pause in 0.3 1 3; do
    /usr/bin/python3 "$work/overtaken.py" "$mnt" "$other" $pause "$(node_pid 1)" "$(node_pid 2)" \
        >"$work/sizes" || fail "overtaken"
    [ "$(cat "$work/sizes")" != "6 6" ] || break
done
[ "$(cat "$work/sizes")" = "6 6" ] || fail "nothing was overtaken: $(cat "$work/sizes")"
two_mounts_down
pass
