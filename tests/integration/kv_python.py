#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Kv and Cluster services as another program sees them: stubs made from proto/ by grpc_tools.

    kv_python.py HOST:PORT      of a node of a running cluster

Prints each check that fails; exit status 0 when all hold, 1 when one does not, 2 when it cannot
run.
"""
import os
import sys
import tempfile
import uuid

try:
    import grpc
    from grpc_tools import protoc
except ImportError as problem:
    print(f"kv_python: {problem}: install python3-grpcio and python3-grpc-tools", file=sys.stderr)
    sys.exit(2)

PROTO = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "proto")
DEADLINE_S = 20
failures = 0


def check(what, got, want):
    global failures
    if got != want:
        failures += 1
        print(f"FAILED {what}: got {got!r}, want {want!r}")


def check_status(what, call, want):
    try:
        call()
    except grpc.RpcError as error:
        check(what, error.code(), want)
        check(what + ": has a message", bool(error.details()), True)
    else:
        check(what, grpc.StatusCode.OK, want)


def make_stubs(folder):
    names = sorted(n for n in os.listdir(PROTO) if n.endswith(".proto"))
    arguments = ["protoc", f"--proto_path={PROTO}", f"--python_out={folder}",
                 f"--grpc_python_out={folder}"]
    if protoc.main(arguments + [os.path.join(PROTO, n) for n in names]) != 0:
        print("kv_python: proto/ does not compile", file=sys.stderr)
        sys.exit(2)
    sys.path.insert(0, folder)


def values(answer):
    return sorted(v.value for v in answer.versions)


def put_get_siblings(kv, pb):
    key = b"key " + uuid.uuid4().bytes
    limit = {"timeout": DEADLINE_S}
    check("get of nothing", values(kv.Get(pb.KvGetRequest(key=key), **limit)), [])

    first = kv.Put(pb.KvPutRequest(key=key, value=b"one"), **limit)
    check("put: copies", first.copies >= 1, True)
    got = kv.Get(pb.KvGetRequest(key=key), **limit)
    check("get after put", values(got), [b"one"])
    check("the put's dot is the version's", got.versions[0].dot, first.dot)
    check("the version has a time", got.versions[0].time_ms > 1_500_000_000_000, True)

    kv.Put(pb.KvPutRequest(key=key, value=b"two"), **limit)
    got = kv.Get(pb.KvGetRequest(key=key), **limit)
    check("two blind puts are two siblings", values(got), [b"one", b"two"])
    check("the latest comes first", got.versions[0].value, b"two")

    late = kv.Put(pb.KvPutRequest(key=key, value=b"first again", context=first.context), **limit)
    got = kv.Get(pb.KvGetRequest(key=key), **limit)
    check("a put's token replaces that put alone", values(got), [b"first again", b"two"])

    kv.Put(pb.KvPutRequest(key=key, value=b"both", context=got.context), **limit)
    check("a put with what a get returned resolves",
          values(kv.Get(pb.KvGetRequest(key=key), **limit)), [b"both"])

    kv.Put(pb.KvPutRequest(key=key, value=b"kept?", context=late.context), **limit)
    check("an old token replaces nothing that it has not seen",
          values(kv.Get(pb.KvGetRequest(key=key), **limit)), [b"both", b"kept?"])

    got = kv.Get(pb.KvGetRequest(key=key), **limit)
    kv.Put(pb.KvPutRequest(key=key, value=b"x" * 65536, context=got.context,
                           durability=pb.KvPutRequest().durability + 1, level=pb.ALL), **limit)
    check("64 KiB, flushed, at all owners", values(kv.Get(pb.KvGetRequest(key=key, level=pb.ALL),
                                                          **limit)), [b"x" * 65536])


def request_ids(kv, pb):
    """A request that is sent again is one write, at the same node and from another program."""
    limit = {"timeout": DEADLINE_S}
    key = b"again " + uuid.uuid4().bytes
    put = pb.KvPutRequest(key=key, value=b"once", request=uuid.uuid4().bytes)
    first = kv.Put(put, **limit)
    put.again = True
    second = kv.Put(put, **limit)
    check("sent again: the same write", second.dot, first.dot)
    got = kv.Get(pb.KvGetRequest(key=key), **limit)
    check("sent again: one version", len(got.versions), 1)
    check("sent again: its dot", got.versions[0].dot, first.dot)

    kv.Put(pb.KvPutRequest(key=key, value=b"later", context=got.context), **limit)
    kv.Put(put, **limit)
    got = kv.Get(pb.KvGetRequest(key=key), **limit)
    check("sent again after it was replaced: stays so", values(got), [b"later"])

    delete = pb.KvDeleteRequest(key=key, context=got.context, request=uuid.uuid4().bytes)
    kv.Delete(delete, **limit)
    kv.Put(pb.KvPutRequest(key=key, value=b"new"), **limit)
    delete.again = True
    kv.Delete(delete, **limit)
    got = kv.Get(pb.KvGetRequest(key=key), **limit)
    check("a delete sent again takes nothing newer", values(got), [b"new"])

    # what kv.proto says that a node remembers: 4 ids with the same first half, 64 in all
    for what, later, half in (("3 of the same program", 3, uuid.uuid4().bytes[:8]),
                              ("63 of others", 63, None)):
        put = pb.KvPutRequest(key=b"often " + uuid.uuid4().bytes, value=b"first",
                              request=(half or uuid.uuid4().bytes[:8]) + b"%08d" % 0)
        kv.Put(put, **limit)
        for i in range(1, later + 1):
            got = kv.Get(pb.KvGetRequest(key=put.key), **limit)
            kv.Put(pb.KvPutRequest(key=put.key, value=b"%d" % i, context=got.context,
                                   request=(half or uuid.uuid4().bytes[:8]) + b"%08d" % i), **limit)
        put.again = True
        kv.Put(put, **limit)
        got = kv.Get(pb.KvGetRequest(key=put.key), **limit)
        check(f"sent again after {what}", values(got), [b"%d" % later])

    lost = pb.KvPutRequest(key=b"lost " + uuid.uuid4().bytes, value=b"x",
                           request=uuid.uuid4().bytes, again=True)
    kv.Put(lost, **limit)
    got = kv.Get(pb.KvGetRequest(key=lost.key), **limit)
    check("again, but the first never came: carried out", values(got), [b"x"])

    invalid = grpc.StatusCode.INVALID_ARGUMENT
    for what, request, again in (("15 bytes", b"r" * 15, False), ("all zero", bytes(16), False),
                                 ("none, but again", b"", True)):
        bad = pb.KvPutRequest(key=key, value=b"bad", request=request, again=again)
        check_status(f"request id of {what}", lambda bad=bad: kv.Put(bad, **limit), invalid)
    bad = pb.KvDeleteRequest(key=key, request=uuid.uuid4().bytes)
    check_status("a delete under an id without a context", lambda: kv.Delete(bad, **limit), invalid)
    got = kv.Get(pb.KvGetRequest(key=key), **limit)
    check("what was refused left nothing", values(got), [b"new"])


def delete(kv, pb):
    key = b"gone " + uuid.uuid4().bytes
    limit = {"timeout": DEADLINE_S}
    kv.Put(pb.KvPutRequest(key=key, value=b"seen"), **limit)
    seen = kv.Get(pb.KvGetRequest(key=key), **limit)
    kv.Put(pb.KvPutRequest(key=key, value=b"unseen"), **limit)
    kv.Delete(pb.KvDeleteRequest(key=key, context=seen.context), **limit)
    check("a delete with a token leaves what it has not seen",
          values(kv.Get(pb.KvGetRequest(key=key), **limit)), [b"unseen"])
    kv.Delete(pb.KvDeleteRequest(key=key), **limit)
    check("a delete without a token removes all",
          values(kv.Get(pb.KvGetRequest(key=key), **limit)), [])
    kv.Delete(pb.KvDeleteRequest(key=key), **limit)
    kv.Put(pb.KvPutRequest(key=key, value=b"back"), **limit)
    check("a put after a delete", values(kv.Get(pb.KvGetRequest(key=key), **limit)), [b"back"])


def scan(kv, pb):
    bucket = "bucket " + uuid.uuid4().hex
    limit = {"timeout": DEADLINE_S}
    keys = [b"%05d" % i for i in range(700)]
    pending = [kv.Put.future(pb.KvPutRequest(bucket=bucket, key=k, value=b"v" + k), **limit)
               for k in reversed(keys)]
    for call in pending:
        call.result()
    kv.Delete(pb.KvDeleteRequest(bucket=bucket, key=keys[3]), **limit)
    kv.Put(pb.KvPutRequest(key=keys[5], value=b"no bucket"), **limit)
    kv.Put(pb.KvPutRequest(bucket=bucket, key=keys[6], value=b"sibling"), **limit)
    want = keys[:3] + keys[4:]

    def names(**request):
        return [e.key for e in kv.Scan(pb.KvScanRequest(bucket=bucket, **request), **limit)]

    check("scan: all keys in order", names(), want)
    check("scan: limit", names(limit=10), want[:10])
    check("scan: after", names(after=keys[650]), keys[651:])
    check("scan: after a key that is not there", names(after=b"00650x", limit=2), keys[651:653])
    check("scan: an empty bucket", [e.key for e in kv.Scan(
        pb.KvScanRequest(bucket=bucket + "x"), **limit)], [])
    entries = {e.key: e for e in kv.Scan(pb.KvScanRequest(bucket=bucket, limit=10), **limit)}
    check("scan: values", values(entries[keys[4]]), [b"v" + keys[4]])
    check("scan: siblings", values(entries[keys[6]]), [b"sibling", b"v" + keys[6]])
    kv.Put(pb.KvPutRequest(bucket=bucket, key=keys[6], value=b"one",
                           context=entries[keys[6]].context), **limit)
    check("scan: its token resolves",
          values(kv.Get(pb.KvGetRequest(bucket=bucket, key=keys[6]), **limit)), [b"one"])
    only = list(kv.Scan(pb.KvScanRequest(bucket=bucket, limit=5, keys_only=True), **limit))
    check("scan: keys only", [v.value for e in only for v in e.versions], [b""] * 5)
    stream = kv.Scan(pb.KvScanRequest(bucket=bucket), **limit)
    next(stream)
    stream.cancel()
    check("a canceled scan harms nobody", names(limit=1), want[:1])


def bad_input(kv, pb, channel):
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    limit = {"timeout": DEADLINE_S}
    check_status("no key", lambda: kv.Get(pb.KvGetRequest(), **limit), invalid)
    check_status("a long key", lambda: kv.Get(pb.KvGetRequest(key=b"k" * 1025), **limit), invalid)
    check_status("a long value", lambda: kv.Put(pb.KvPutRequest(
        key=b"k", value=b"v" * 65537), **limit), invalid)
    check_status("a token that is none", lambda: kv.Put(pb.KvPutRequest(
        key=b"k", context=b"nonsense"), **limit), invalid)
    check_status("a delete with a token that is none", lambda: kv.Delete(pb.KvDeleteRequest(
        key=b"k", context=b"\x01\xff\xff"), **limit), invalid)
    check_status("an unknown level",
                 lambda: kv.Get(pb.KvGetRequest(key=b"k", level=9), **limit), invalid)
    check_status("a scan without a bucket",
                 lambda: list(kv.Scan(pb.KvScanRequest(), **limit)), invalid)
    for method in ("Get", "Put", "Delete"):
        raw = channel.unary_unary(f"/kith.v1.Kv/{method}")
        check_status(f"bytes that are no message: {method}",
                     lambda r=raw: r(b"\xff\xff\xff", timeout=DEADLINE_S), invalid)
    raw = channel.unary_unary("/kith.v1.Kv/Nothing")
    check_status("an unknown method", lambda: raw(b"", timeout=DEADLINE_S),
                 grpc.StatusCode.UNIMPLEMENTED)
    raw = channel.unary_unary("/kith.v1.Cluster/Status")
    check_status("bytes that are no message: Status",
                 lambda: raw(b"\xff", timeout=DEADLINE_S), invalid)


def cluster(stub, types):
    status = stub.Status(types.StatusReq(), timeout=DEADLINE_S)
    check("status: the node's uuid", len(status.node.node), 16)
    check("status: the cluster's uuid", len(status.node.cluster), 16)
    check("status: members", len(status.members) >= 1, True)
    table = stub.Table(types.TableReq(), timeout=DEADLINE_S)
    check("table: has one", len(table.table) > 0, True)
    try:
        stub.Initialize(types.InitReq(name="again"), timeout=DEADLINE_S)
        check("a second init", "accepted", "refused")
    except grpc.RpcError as error:
        check("a second init has a message", bool(error.details()), True)


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        make_stubs(folder)
        import cluster_pb2_grpc
        import kv_pb2
        import kv_pb2_grpc
        import types_pb2
        # an address on loopback must not go through a proxy of the environment
        channel = grpc.insecure_channel(sys.argv[1], options=[("grpc.enable_http_proxy", 0)])
        try:
            kv = kv_pb2_grpc.KvStub(channel)
            put_get_siblings(kv, kv_pb2)
            request_ids(kv, kv_pb2)
            delete(kv, kv_pb2)
            scan(kv, kv_pb2)
            bad_input(kv, kv_pb2, channel)
            cluster(cluster_pb2_grpc.ClusterStub(channel), types_pb2)
        except grpc.RpcError as error:
            print(f"FAILED: {error.code()}: {error.details()}")
            return 1
        finally:
            channel.close()
    if failures == 0:
        print("kv_python: all checks hold")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
