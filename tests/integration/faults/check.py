# SPDX-License-Identifier: GPL-3.0-or-later
"""check.py - judges the logs of load.c and what was found in the end.

What must hold (DESIGN section 9, invariants 1, 4 and 9):

  lost         a write that was acknowledged is there, or one that had read it took its place
  resurrected  what a write replaced that took effect is there no more
  refused      what was refused never appears
  unasked      nothing appears that nobody wrote
  own          a client reads what it wrote before, or what took its place
  odd          a write is refused only for want of nodes
  stale        so does any other, by a quorum (strict quorums only: sloppy ones promise less)

A write takes effect where it was acknowledged, where it was ever seen, or where something that it
replaced is gone and nothing else accounts for that. So siblings are there exactly where nothing
that took effect had read them: more would be resurrected, fewer lost.
"""
from collections import defaultdict


# what a write may be refused for: see enum kith_err
FOR_WANT_OF_NODES = ("EREFUSED", "ETIMEOUT", "EUNREACH")


class Write:
    __slots__ = ("id", "key", "op", "result", "client", "start", "end")

    def __init__(self, id_, key, op, result, start, end):
        self.id, self.key, self.op, self.result = id_, key, op, result
        self.client = id_.split(".")[0]
        self.start, self.end = start, end

    @property
    def may_be(self):
        return self.result in ("OK", "EUNKNOWN")


class Read:
    __slots__ = ("client", "key", "start", "end", "degraded", "seen", "by")

    def __init__(self, client, key, start, end, degraded, seen, by):
        self.client, self.key, self.start, self.end = client, key, start, end
        self.degraded, self.seen, self.by = degraded, seen, by


class History:
    def __init__(self):
        self.writes = {}                     # id -> Write
        self.reads = []
        self.failed_reads = []               # (end, error, milliseconds)
        self.replacers = defaultdict(list)   # id -> writes that read it and take its place
        self.by_key = defaultdict(list)

    def load(self, path):
        with open(path, encoding="ascii") as lines:
            for line in lines:
                if not line.endswith("\n"):
                    raise ValueError(f"{path}: ends in the middle of a line: {line!r}")
                self._line(line.split())

    def _line(self, words):
        if words[0] == "r":
            _, _, _, error, start, end = words
            self.failed_reads.append((int(end), error, (int(end) - int(start)) / 1000))
            return
        _, id_, key, op, result, rstart, rend, wstart, wend, degraded, seen = words
        seen = [] if seen == "-" else seen.split(",")
        write = Write(id_, key, op, result, int(wstart), int(wend))
        self.writes[id_] = write
        self.by_key[key].append(write)
        self.reads.append(Read(write.client, key, int(rstart), int(rend), degraded == "1",
                               set(seen), id_))
        if op != "blind":
            for other in seen:
                self.replacers[other].append(write)


def judge(history, final, strict=True, limit=12):
    """Complaints: [(kind, text)]. final: {key: set of ids}."""
    found = []
    everything = set()
    for ids in final.values():
        everything |= ids
    seen_ever = set(everything)
    for read in history.reads:
        seen_ever |= read.seen

    known = {}

    def took_effect(write):
        """Whether it surely did. A chain of unknown writes ends at one that was seen."""
        if write.result == "OK" or write.id in seen_ever:
            return True
        return False

    def accounts(write, depth=0):
        """Whether that unknown write, or what followed it, may explain that something is gone."""
        if write.id in known:
            return known[write.id]
        known[write.id] = True
        good = True
        if write.op != "del" and write.id not in final.get(write.key, ()):
            good = any(r.may_be and accounts(r, depth + 1) for r in history.replacers[write.id])
        known[write.id] = good
        return good

    for write in history.writes.values():
        there = write.id in final.get(write.key, ())
        if write.result == "OK" and write.op != "del" and not there:
            by = [r for r in history.replacers[write.id] if r.may_be]
            if not any(accounts(r) for r in by):
                found.append(("lost", f"{write.key}: {write.id} was acknowledged; "
                                      f"there is {sorted(final.get(write.key, ()))}"))
        if not write.may_be and write.id in seen_ever:
            found.append(("refused", f"{write.key}: {write.id} was refused ({write.result}), "
                                     "and appeared"))
        if not write.may_be and write.result not in FOR_WANT_OF_NODES:
            found.append(("odd", f"{write.key}: {write.id} ended with {write.result}"))
    for key, ids in final.items():
        for id_ in ids:
            write = history.writes.get(id_)
            if write is None or write.key != key:
                found.append(("unasked", f"{key}: {id_}"))
                continue
            for by in history.replacers[id_]:
                if took_effect(by):
                    found.append(("resurrected", f"{key}: {id_} is there, although {by.id} "
                                                 f"({by.result}) took its place"))
    for id_ in seen_ever - everything:
        if id_ not in history.writes:
            found.append(("unasked", f"{id_} was read, and nobody wrote it"))
    found += judge_reads(history, strict)
    counts = defaultdict(int)
    kept = []
    for kind, text in found:
        counts[kind] += 1
        if counts[kind] <= limit:
            kept.append((kind, text))
    for kind, count in counts.items():
        if count > limit:
            kept.append((kind, f"and {count - limit} more of these"))
    return kept


def judge_reads(history, strict):
    """own and stale."""
    found = []
    reads = defaultdict(list)
    for read in history.reads:
        reads[read.key].append(read)
    for key, list_ in reads.items():
        list_.sort(key=lambda read: read.start)
        acked = sorted((w for w in history.by_key[key] if w.result == "OK" and w.op != "del"),
                       key=lambda w: w.end)
        live, at = [], 0
        for read in list_:
            while at < len(acked) and acked[at].end < read.start:
                live.append(acked[at])
                at += 1
            kept = []
            for write in live:
                replaced = [r for r in history.replacers[write.id] if r.may_be]
                if any(r.start < read.start for r in replaced):
                    continue  # from now on it may be gone
                kept.append(write)
                if write.id in read.seen or any(r.start < read.end for r in replaced):
                    continue
                own = write.client == read.client
                if own or (strict and not read.degraded):
                    found.append(("own" if own else "stale",
                                  f"{key}: {read.by} read {sorted(read.seen)} at {read.start}, not "
                                  f"{write.id}, acknowledged at {write.end}"))
            live = kept
    return found


def read_final(text):
    """What `fault_load read` printed: ({key: ids}, [errors])."""
    final, errors = {}, []
    for line in text.splitlines():
        key, _, ids = line.partition(" ")
        if ids.startswith("!"):
            errors.append(line)
        else:
            final[key] = set() if ids == "-" else set(ids.split(","))
    return final, errors


def figures(history, since, until):
    """Acknowledged writes a second in a span of us, and how many there were of each other outcome:
    {word: count}, reads as "read: word"."""
    ok = 0
    others = defaultdict(int)
    for write in history.writes.values():
        if since <= write.end < until:
            ok += write.result == "OK"
            others[write.result] += write.result != "OK"
    for end, error, _ in history.failed_reads:
        others[f"read: {error}"] += since <= end < until
    return (ok / max((until - since) / 1e6, 0.001),
            {word: count for word, count in sorted(others.items()) if count > 0})


def longest_us(history, since, until):
    """The longest read or write that ended well, or not, in the span."""
    times = [w.end - w.start for w in history.writes.values() if since <= w.end < until]
    times += [r.end - r.start for r in history.reads if since <= r.end < until]
    times += [int(ms * 1000) for end, _, ms in history.failed_reads if since <= end < until]
    return max(times, default=0)


def longest_gap_us(history, since, until, client=None):
    """The longest time in which nothing (of that client) was acknowledged."""
    ends = sorted(w.end for w in history.writes.values()
                  if w.result == "OK" and since <= w.end < until
                  and (client is None or w.client == client))
    ends = [since] + ends + [until]
    return max(b - a for a, b in zip(ends, ends[1:]))


def self_test():
    """Each complaint is made of a history that deserves it, and none of one that does not."""
    def history(*lines):
        h = History()
        for line in lines:
            h._line(line.split())
        return h

    def kinds(h, final, strict=True):
        return sorted({kind for kind, _ in judge(h, final, strict)})

    a = "w c1.0.1 k put OK 0 1 2 3 0 -"
    b = "w c2.0.1 k put OK 10 11 12 13 0 c1.0.1"
    assert kinds(history(a), {"k": {"c1.0.1"}}) == []
    assert kinds(history(a), {"k": set()}) == ["lost"]
    assert kinds(history(a, b), {"k": {"c2.0.1"}}) == []
    assert kinds(history(a, b), {"k": {"c1.0.1", "c2.0.1"}}) == ["resurrected"]
    assert kinds(history(a, b), {"k": {"c1.0.1"}}) == ["lost", "resurrected"]
    unknown = b.replace(" OK ", " EUNKNOWN ")
    assert kinds(history(a, unknown), {"k": {"c1.0.1"}}) == []
    assert kinds(history(a, unknown), {"k": {"c2.0.1"}}) == []
    assert kinds(history(a, unknown), {"k": set()}) == ["lost"]
    assert kinds(history(a, unknown), {"k": {"c1.0.1", "c2.0.1"}}) == ["resurrected"]
    gone = "w c2.0.1 k del EUNKNOWN 10 11 12 13 0 c1.0.1"
    assert kinds(history(a, gone), {"k": set()}) == []
    refused = b.replace(" OK ", " EUNREACH ")
    assert kinds(history(a, refused), {"k": {"c1.0.1"}}) == []
    assert kinds(history(a, refused), {"k": {"c2.0.1"}}) == ["lost", "refused"]
    assert kinds(history(a), {"k": {"c1.0.1", "x"}}) == ["unasked"]
    blind = "w c2.0.1 k blind OK 10 11 12 13 0 c1.0.1"
    assert kinds(history(a, blind), {"k": {"c1.0.1", "c2.0.1"}}) == []
    assert kinds(history(a, blind), {"k": {"c2.0.1"}}) == ["lost"]
    stale = "w c2.0.1 k blind OK 10 11 12 13 0 -"
    assert kinds(history(a, stale), {"k": {"c1.0.1", "c2.0.1"}}) == ["stale"]
    assert kinds(history(a, stale), {"k": {"c1.0.1", "c2.0.1"}}, strict=False) == []
    own = "w c1.1.1 k blind OK 10 11 12 13 0 -"
    assert kinds(history(a, own), {"k": {"c1.0.1", "c1.1.1"}}, strict=False) == ["own"]


if __name__ == "__main__":
    self_test()
    print("check.py: good")
