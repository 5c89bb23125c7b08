# SPDX-License-Identifier: GPL-3.0-or-later
"""metrics.py ADDRESS PAGE [promtool]: what a node serves at ADDRESS, held against the manual page; with
"promtool" also by that. Then, for test_metrics.sh, metrics.py ADDRESS value NAME{LABELS}."""
import http.client
import re
import subprocess
import sys


def get(address, path="/metrics", method="GET", host=None):
    connection = http.client.HTTPConnection(address, timeout=20)
    connection.request(method, path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read().decode()


def families(text):
    """NAME: (type, labels)"""
    found = {}
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M):
        first = re.search(r"^%s(?:_bucket)?(\{.*\})? \S+$" % name, text, re.M)
        if first:  # of what there is one for each peer there may be none
            labels = re.findall(r'[{,](\w+)="', first[1] or "")
            found[name] = kind, [label for label in labels if label != "le"]
        else:
            found[name] = kind, None
    return found


def check_manual(text, page):
    manual = {}
    with open(page, encoding="utf-8") as file:
        for name, kind, labels in re.findall(r"^\.It Cm (\S+) Pq (\w+)(?: by (.*))?$", file.read(), re.M):
            assert name not in manual, f"{name} is twice in the page"
            manual[name] = kind, re.findall(r"\w+", labels)
    served = families(text)
    assert len(served) > 70, served
    assert served.keys() == manual.keys(), f"served, or in the manual, alone: {served.keys() ^ manual.keys()}"
    for name, (kind, labels) in served.items():
        assert labels is not None, f"{name} has no value"
        assert manual[name] == (kind, labels), f"{name} is {kind} by {labels}, the manual has {manual[name]}"


def check_headers(address):
    for path in "/", "/metrics", "/page.css", "/page.js", "/none":
        status, headers, _ = get(address, path)
        assert status == (404 if path == "/none" else 200), (path, status)
        assert headers["Content-Security-Policy"].startswith("default-src 'none';"), path
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cache-Control"] == "no-store", path
    assert get(address, method="POST")[0] == 405
    assert get(address, host="evil.example")[0] == 421
    assert get(address)[1]["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"


def main():
    address, what = sys.argv[1:3]
    status, _, text = get(address)
    if what == "status":
        print(status)
    elif what == "value":
        assert status == 200, status
        lines = [line for line in text.splitlines() if line.startswith(sys.argv[3] + " ")]
        print(lines[0].split()[-1])
    else:
        check_manual(text, what)
        check_headers(address)
        if len(sys.argv) > 3:
            said = subprocess.run([sys.argv[3], "check", "metrics"], input=text, text=True,
                                  capture_output=True, check=False)
            assert said.returncode == 0 and not said.stdout + said.stderr, said


main()
