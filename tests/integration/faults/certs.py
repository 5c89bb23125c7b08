# SPDX-License-Identifier: GPL-3.0-or-later
"""certs.py - the certificates of a cluster whose nodes others can reach: without them kithd does not
listen there. The processes of this one find the admin's in KITH_CERT and the others (kithctl, load.c)."""
import os
import subprocess

BIN = os.environ["KITH_BIN"]


class Certs:
    def __init__(self, folder):
        """One certificate for all nodes, and the admin's, in the folder, which is made."""
        subprocess.run([f"{BIN}/kithctl", "init", folder, "--cluster", "test", "--node", "node"],
                       check=True, stdout=subprocess.DEVNULL)
        self.folder = folder
        os.environ.update(KITH_CERT=self.of("admin.crt"), KITH_KEY=self.of("admin.key"),
                          KITH_CA=self.of("ca.crt"), KITH_CRL=self.of("crl.pem"))

    def of(self, name):
        return os.path.join(self.folder, name)

    def node(self):
        """Options of kithd."""
        return ["--cert", self.of("node.crt"), "--key", self.of("node.key"), "--ca",
                self.of("ca.crt"), "--crl", self.of("crl.pem")]

    def mount(self):
        """Options of kithfs."""
        return (f"cert={self.of('admin.crt')},key={self.of('admin.key')},ca={self.of('ca.crt')},"
                f"crl={self.of('crl.pem')}")
