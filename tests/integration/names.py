# SPDX-License-Identifier: GPL-3.0-or-later
"""names.py - names of files changed at random, and what must hold afterwards.

    names.py change DIR SEED SECONDS    writes, renames, links, unlinks, appends eight names in two
                                        directories; prints how many operations and their errors
    names.py check DIR                  each name can be stat'ed and read, and each file has as many
                                        names as its link count says; prints the names
    names.py remove DIR                 removes all names, as often as another version of a removed
                                        file shows; then the directories

Errors are those that a race may give: a name that is gone or there, and a changed one (ESTALE).
Anything else fails, unless FAULTS is set in the environment: then nodes are being killed."""
import collections
import errno
import os
import random
import sys
import time

DIRS, NAMES = ('d1', 'd2'), 'abcdefgh'
RACES = {errno.ENOENT, errno.EEXIST, errno.ESTALE}
REMOVE_SECONDS = 10  # versions that a removal has not seen come back within a second or two


def change(root, seed, seconds):
    rng = random.Random(seed)
    errors = collections.Counter()
    faults = 'FAULTS' in os.environ

    def path():
        return os.path.join(root, rng.choice(DIRS), rng.choice(NAMES))

    def write(a, _):
        with open(a, 'w') as file:
            file.write('x' * rng.choice([5, 50000]))

    def append(a, _):
        with open(a, 'a') as file:
            file.write('y')

    def twice(a, b):
        os.rename(a, a + 'z')
        os.rename(a + 'z', b)

    def unlink(a, _):
        os.unlink(a)

    operations = (write, os.rename, os.link, unlink, append, twice)
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        a, b, operation = path(), path(), rng.choice(operations)
        try:
            operation(a, b)
        except OSError as error:
            errors[operation.__name__, errno.errorcode[error.errno]] += 1
            if error.errno not in RACES and not faults:
                sys.exit('%s %s %s: %s' % (operation.__name__, a, b, error))
        count += 1
    print(seed, count, dict(errors))


def names_of(root, directories=DIRS):
    for directory in directories:
        for name in sorted(os.listdir(os.path.join(root, directory))):
            yield os.path.join(directory, name)


def check(root):
    files = collections.defaultdict(list)
    failed = []
    for name in names_of(root):
        try:
            with open(os.path.join(root, name), 'rb') as file:
                status = os.fstat(file.fileno())
                size = len(file.read())
        except OSError as error:
            failed.append('%s: %s' % (name, error))
            continue
        files[status.st_ino].append((name, status.st_nlink))
        if size != status.st_size:
            failed.append('%s: %d bytes of %d' % (name, size, status.st_size))
        print(name)
    for names in files.values():
        if any(links != len(names) for _, links in names):
            failed.append('link counts: %s' % names)
    if failed:
        sys.exit('\n'.join(failed))


def remove(root):
    deadline = time.monotonic() + REMOVE_SECONDS
    left = list(DIRS)
    while left:
        for name in names_of(root, left):
            try:
                os.unlink(os.path.join(root, name))
            except FileNotFoundError:
                pass
        try:
            os.rmdir(os.path.join(root, left[0]))
            left.pop(0)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY or time.monotonic() > deadline:
                sys.exit('%s: %s' % (error, os.listdir(os.path.join(root, left[0]))))


if sys.argv[1] == 'change':
    change(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
else:
    {'check': check, 'remove': remove}[sys.argv[1]](sys.argv[2])
