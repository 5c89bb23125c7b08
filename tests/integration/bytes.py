# SPDX-License-Identifier: GPL-3.0-or-later
"""bytes.py - whether what was written and acknowledged at several mounts at once is still there.

    bytes.py WORKLOAD DIR LOG SEED SECONDS WORKER MOUNT     changes files in DIR, notes in LOG
    bytes.py tree DIR                   prints each name with a checksum of what can be read there
    bytes.py shown ROWS TREE            exits 1 where that is not what the rows have; ROWS is what
                                        `fs_rows SERVERS contents` told
    bytes.py account ROWS LOG...        prints what is lost and exits 1

Each write is a LINE that begins with its TOKEN (worker and number), of which there is one. It is
acknowledged when write and close, or fsync, have succeeded. What a file must hold is told by no
model of the filesystem but by what its writer had READ through the same descriptor before: a
version takes the place of what its writer had opened, and of nothing else. So:

lines   Nobody ever takes a line away: it is appended to what is there (O_APPEND, now and then
        several times through one descriptor), or what was read is written again with one line more,
        while others rename, exchange and link the names; a name is removed only by who has linked
        it, a name that nobody else renames or overwrites, so that the file keeps another.
            Every acknowledged line is in some version of some file, unless it had been read by
        who failed while he wrote it again.
over    Each mount overwrites the same names (read, cut to nothing, one line; now and then several
        times through one descriptor). One process at each mount, so that it reads what it opened.
            Every acknowledged line is in some version, unless a writer that was about to overwrite
            had read it.
ends    Lines are appended at both mounts; files are removed, or replaced by rename with a copy that
        has one line more, each name by one process only. The name is looked up once more for that, so
        what it leads to may be newer than what was read before: but not older, nor a version beside
        it, which a removal leaves alone.
            Every acknowledged line is in some version, unless who removed or replaced the file had
            read it, or it was written, or carried to that name, meanwhile (LATE seconds before: a
            file may be opened from memory until a change that was made is told).

A version is each sibling in each row that a name leads to, whether it bears the name or stands
beside it. And every version consists of whole lines, none twice.

Errors are those that a race may give (names that are gone, there, or changed); with FAULTS in the
environment nodes are being killed, and any error may come. What has failed is not acknowledged, but
may be carried out, then or later."""
import collections
import errno
import fcntl
import hashlib
import json
import os
import random
import sys
import time

DIRS, NAMES = ('d1', 'd2'), 'abcdefgh'
FILES_MOST = 8  # "lines": above so many names no new file is made, so that names stay free
RACES = {errno.ENOENT, errno.EEXIST, errno.ESTALE, errno.EMLINK}
LONG_EVERY, LONG = 16, 3000  # every so many lines there is one of so many bytes: it goes to chunks
FAULTS = 'FAULTS' in os.environ
LATE = 4 if FAULTS else 0.5  # seconds; a watch whose node is silent ends after 3
AT_FDCWD, RENAME_NOREPLACE, RENAME_EXCHANGE = -100, 1, 2


def renameat2(a, b, flags):
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(AT_FDCWD, a.encode(), AT_FDCWD, b.encode(), flags) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), a, None, b)


def line_of(token):
    number = int(token.split('.')[1])
    return (token + ' ' + 'x' * (LONG if number % LONG_EVERY == 0 else 3) + '\n').encode()


def tokens_of(data):
    """The tokens of whole lines; ValueError where there is anything else, or one twice."""
    tokens = []
    for line in data.splitlines(keepends=True):
        token = line.split(b' ')[0].decode('ascii', 'replace')
        if token.count('.') != 1 or not token.split('.')[1].isdigit() or line != line_of(token):
            raise ValueError('no line: %r' % line[:60])
        tokens.append(token)
    if len(set(tokens)) != len(tokens):
        twice = [token for token, n in collections.Counter(tokens).items() if n > 1]
        raise ValueError('lines twice: %s' % twice[:10])
    return tokens


def read_all(fd):
    data = b''
    while True:
        part = os.pread(fd, 1 << 20, len(data))
        if not part:
            return data
        data += part


def write_all(fd, data):
    while data:
        data = data[os.write(fd, data):]


class Worker:
    def __init__(self, root, log, seed, worker, mount):
        self.root, self.worker, self.mount = root, worker, mount
        self.random = random.Random(seed)
        self.log = open(log, 'w')
        self.count = 0  # lines
        self.links = []  # names that this worker has linked, which nobody but it removes
        self.lock = os.open(os.path.join(os.path.dirname(log), '%s-%d.lock' %
                                         (worker.split('_')[0], mount)), os.O_RDWR | os.O_CREAT)
        self.errors = collections.Counter()

    def path(self, name):
        return os.path.join(self.root, name)

    def names(self):
        return [os.path.join(d, name) for d in DIRS for name in os.listdir(self.path(d))]

    def note(self, op, start, ok, **more):
        end = time.monotonic()
        self.log.write(json.dumps(dict(more, op=op, worker=self.worker, mount=self.mount,
                                       start=start, end=end, ok=ok)) + '\n')
        self.log.flush()

    def token(self):
        self.count += 1
        return '%s.%d' % (self.worker, self.count)

    def write(self, op, name, flags, times, change, exclusive=False):
        """Opens the file and lets `change` write `times` lines; every one is noted with what had been
        read through the descriptor before."""
        start = time.monotonic()
        seen, token, done = [], None, 0
        fcntl.flock(self.lock, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        fd = None
        try:
            fd = os.open(self.path(name), flags, 0o644)
            for i in range(times):
                start = start if i == 0 else time.monotonic()
                token = None
                seen = tokens_of(read_all(fd))
                token = self.token()
                change(fd, seen, line_of(token))
                if i < times - 1 or self.random.random() < 0.2:
                    os.fsync(fd)
                if i < times - 1:
                    self.note(op, start, True, name=name, token=token, seen=seen)
                    done += 1
            os.close(fd)
            fd = -1
            self.note(op, start, True, name=name, token=token, seen=seen)
        except OSError as error:
            self.note(op, start, False, name=name, token=token, seen=seen,
                      error=errno.errorcode[error.errno])
            raise
        finally:
            if fd is not None and fd >= 0:
                try:
                    os.close(fd)
                except OSError:
                    pass
            fcntl.flock(self.lock, fcntl.LOCK_UN)

    def change_name(self, op, call, *names, **more):
        start = time.monotonic()
        try:
            call(*[self.path(name) for name in names])
        except OSError as error:
            self.note(op, start, False, name=names, error=errno.errorcode[error.errno], **more)
            raise
        self.note(op, start, True, name=names, **more)

    # ---- how a line is written ----

    @staticmethod
    def add(fd, _, line):
        if os.write(fd, line) != len(line):  # O_APPEND: in one piece
            raise OSError(errno.EIO, 'a short write')

    @staticmethod
    def rewrite(fd, seen, line):
        data = b''.join(line_of(token) for token in seen) + line
        os.ftruncate(fd, 0)
        os.lseek(fd, 0, os.SEEK_SET)
        write_all(fd, data)

    @staticmethod
    def overwrite(fd, _, line):
        os.ftruncate(fd, 0)
        os.lseek(fd, 0, os.SEEK_SET)
        write_all(fd, line)

    # ---- workloads: one step each ----

    def lines(self):
        pick = self.random.choice
        names = self.names()
        plain = [name for name in names if not os.path.basename(name).startswith('p')]
        free = os.path.join(pick(DIRS), pick(NAMES))
        what = self.random.choices(['add', 'more', 'rewrite', 'make', 'rename', 'link', 'unlink',
                                    'exchange'], [6, 2, 2, 1, 4, 3, 3, 1])[0]
        if not names or (what == 'make' and len(plain) < FILES_MOST):
            self.write('make', free, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 1, self.add)
        elif what == 'add':
            self.write('add', pick(names), os.O_RDWR | os.O_APPEND, 1, self.add)
        elif what == 'more':
            self.write('more', pick(names), os.O_RDWR | os.O_APPEND, 4, self.add)
        elif what == 'rewrite':
            self.write('rewrite', pick(names), os.O_RDWR, 1, self.rewrite, exclusive=True)
        elif what == 'rename' and plain:
            self.change_name('rename', lambda a, b: renameat2(a, b, RENAME_NOREPLACE),
                             pick(plain), free)
        elif what == 'link':
            name = os.path.join(pick(DIRS), 'p%s-%d' % (self.worker, self.count))
            self.count += 1
            self.change_name('link', os.link, pick(names), name)
            self.links.append(name)
        elif what == 'unlink' and self.links:
            self.unlink(self.links.pop(self.random.randrange(len(self.links))), plain)
        elif what == 'exchange' and plain:
            a = pick(plain)
            same = [name for name in plain if os.path.dirname(name) == os.path.dirname(a)]
            self.change_name('exchange', lambda a, b: renameat2(a, b, RENAME_EXCHANGE), a,
                             pick(same))

    def unlink(self, name, plain):
        """Where the file has another name, which nobody removes. It may not: two that gave the name to
        two files at once leave it to one of them."""
        with open(self.path(name), 'rb') as file:
            status = os.fstat(file.fileno())
        for other in plain:
            try:
                if os.stat(self.path(other)).st_ino == status.st_ino and status.st_nlink > 1:
                    self.change_name('unlink', os.unlink, name, other=other)
                    return
            except OSError as error:
                if error.errno not in RACES and not FAULTS:
                    raise

    def over(self):
        name = self.random.choice(NAMES[:3])
        self.write('over', name, os.O_RDWR | os.O_CREAT, self.random.choice([1, 1, 1, 3]),
                   self.overwrite)

    def ends(self):
        number = self.random.randrange(4)
        name = NAMES[number]
        mine = number % 2 == self.mount % 2
        what = self.random.choices(['add', 'unlink', 'save'], [6, 1, 1] if mine else [1, 0, 0])[0]
        if what == 'add':
            self.write('add', name, os.O_RDWR | os.O_CREAT | os.O_APPEND, 1, self.add)
            return
        start = time.monotonic()
        with open(self.path(name), 'rb') as file:
            seen = tokens_of(file.read())
        if what == 'unlink':
            ok = False
            try:
                os.unlink(self.path(name))
                ok = True
            finally:
                self.note('unlink', start, ok, name=name, ends=seen, seen=[])
            return
        token, ok = self.token(), False
        new = 't%s' % token
        try:
            with open(self.path(new), 'wb') as file:
                file.write(b''.join(line_of(token) for token in seen) + line_of(token))
            os.rename(self.path(new), self.path(name))
            ok = True
        finally:
            self.note('save', start, ok, name=name, token=token, ends=seen, seen=seen)

    def run(self, workload, seconds):
        end = time.monotonic() + seconds
        steps = 0
        while time.monotonic() < end:
            try:
                getattr(self, workload)()
            except OSError as error:
                self.errors[errno.errorcode[error.errno]] += 1
                if error.errno not in RACES and not FAULTS:
                    raise
            steps += 1
        print('%s %s: %d steps, %d lines, %s' % (workload, self.worker, steps, self.count,
                                                 dict(self.errors)))


def tree(root):
    """Sorted; a file that cannot be read ends the program: it is to be looked at again."""
    for at, dirs, files in os.walk(root):
        dirs.sort()
        for name in sorted(files):
            with open(os.path.join(at, name), 'rb') as file:
                data = file.read()
            print('/' + os.path.relpath(os.path.join(at, name), root),
                  hashlib.sha256(data).hexdigest())


# ---- the account ----

def excuses(log):
    """token -> the operations that may have ended it."""
    ends = collections.defaultdict(list)
    by_name = collections.defaultdict(list)
    for op in log:
        by_name[op['worker'].split('_')[0], str(op['name'])].append(op)
    for op in log:
        if op['op'] == 'over' or (op['op'] == 'rewrite' and not op['ok']):
            for token in op['seen']:
                ends[token].append(op)
        elif 'ends' in op:
            for token in op['ends']:
                ends[token].append(op)
            for other in by_name[op['worker'].split('_')[0], op['name']]:
                over = float('inf') if not other['ok'] else other['end']
                if other is not op and over > op['start'] - LATE and other['start'] < op['end']:
                    for token in other['seen'] + [other.get('token')]:
                        ends[token].append(op)
    return ends


def read_rows(rows):
    """(place, rank, contents) of each version; place -> contents of the names and rows."""
    versions, plain, links = [], {}, {}
    for line in open(rows):
        if not line.startswith('version '):
            continue
        _, place, rank, kind, value = line.split()
        if kind == 'link':
            if rank == 'winner':
                links[place] = value
            continue
        data = b'' if value == '-' else bytes.fromhex(value)
        versions.append((place, rank, data))
        if rank == 'winner':
            plain[place] = data
    for place, target in links.items():
        plain[place] = plain.get(target, b'')
    return versions, plain


def shown(rows, seen_tree):
    """Each name shows its newest version, and nothing else is shown."""
    plain = {place: hashlib.sha256(data).hexdigest() for place, data in read_rows(rows)[1].items()
             if not place.startswith(':')}
    seen = dict(line.split() for line in open(seen_tree))
    failed = [place for place in sorted(set(plain) | set(seen))
              if plain.get(place) != seen.get(place)]
    if failed:
        sys.exit('not shown, or other contents than the newest: %s' % failed)


def account(rows, logs):
    log = [json.loads(line) for name in logs for line in open(name)]
    versions, failed = read_rows(rows)[0], []
    where = collections.defaultdict(list)  # token -> versions
    for place, rank, data in versions:
        try:
            for token in tokens_of(data):
                where[token].append((place, rank))
        except ValueError as error:
            failed.append('%s (%s): %s' % (place, rank, error))
    ends = excuses(log)
    acked = [op for op in log if op['ok'] and op.get('token')]
    lost = [op for op in acked if op['token'] not in where and op['token'] not in ends]
    for op in lost:
        failed.append('lost: ' + json.dumps(dict(op, seen=op['seen'][-5:])))
    sure = [op for op in acked if op['token'] not in ends]
    beside = [op for op in sure if all(rank == 'beside' for _, rank in where[op['token']])]
    print('%d acknowledged lines, %d of which must be there, %d of those only beside a newer version; '
          '%d versions' % (len(acked), len(sure), len(beside), len(versions)))
    if failed:
        sys.exit('\n'.join(failed[:40]))


def main():
    if sys.argv[1] == 'tree':
        tree(sys.argv[2])
    elif sys.argv[1] == 'shown':
        shown(sys.argv[2], sys.argv[3])
    elif sys.argv[1] == 'account':
        account(sys.argv[2], sys.argv[3:])
    else:
        workload, root, log, seed, seconds, name, mount = sys.argv[1:]
        Worker(root, log, seed, name, int(mount)).run(workload, float(seconds))


main()
