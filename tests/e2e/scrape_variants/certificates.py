"""Servers' certificates of many kinds, made with openssl, and the TLS settings of scrapes that meet them."""
import functools
import pathlib
import shutil
import ssl
import subprocess

from pharos import Skipped

SAN = "subjectAltName=IP:127.0.0.1"
# Name: extensions, key, further arguments for signing. `None` extensions make a certificate of X.509 version 1.
LEAVES = {
    "good": (SAN, "rsa:2048", []),
    "p256": (SAN, "ec:P-256", []),
    "p384": (SAN, "ec:P-384", []),
    "p521": (SAN, "ec:P-521", []),
    "ed25519": (SAN, "ed25519", []),
    "rsa3072": (SAN, "rsa:3072", []),
    "expired": (SAN, "ec:P-256", ["-days", "-1"]),
    "other name": ("subjectAltName=DNS:other.example", "ec:P-256", []),
    "localhost": ("subjectAltName=DNS:localhost", "ec:P-256", []),
    "wildcard": ("subjectAltName=DNS:*.example.org", "ec:P-256", []),
    "only a common name": ("basicConstraints=CA:FALSE", "ec:P-256", []),
    "version 1": (None, "rsa:2048", []),
    "sha1": (SAN, "rsa:2048", ["-sha1"]),
    "sha512": (SAN, "rsa:2048", ["-sha512"]),
    "client authentication": (SAN + "\nextendedKeyUsage=clientAuth", "ec:P-256", []),
    "any usage": (SAN + "\nextendedKeyUsage=2.5.29.37.0", "ec:P-256", []),
    "both usages": (SAN + "\nextendedKeyUsage=clientAuth,serverAuth", "ec:P-256", []),
    "signs certificates": (SAN + "\nkeyUsage=critical,keyCertSign\nbasicConstraints=critical,CA:TRUE", "ec:P-256", []),
    "critical extension": (SAN + "\n1.2.3.4.5=critical,ASN1:UTF8String:x", "ec:P-256", []),
    "critical name": ("subjectAltName=critical,IP:127.0.0.1", "ec:P-256", []),
    "critical constraints": (SAN + "\nbasicConstraints=critical,CA:FALSE", "ec:P-256", []),
}
SELF_SIGNED = {"self-signed": ["-addext", SAN], "self-signed leaf": ["-addext", SAN, "-addext", "basicConstraints=critical,CA:FALSE"], "self-signed without name": []}
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
# Name: ciphers, versions.
PROTOCOLS = {
    "TLS 1.0": (None, (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1)), "TLS 1.1": (None, (ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_1)), "TLS 1.2": (None, (V12, V12)), "TLS 1.3": (None, (V13, V13)),
    "CBC": ("ECDHE-RSA-AES128-SHA", (V12, V12)), "CBC SHA-256": ("ECDHE-RSA-AES128-SHA256", (V12, V12)), "CBC 256": ("ECDHE-RSA-AES256-SHA", (V12, V12)), "CBC SHA-384": ("ECDHE-RSA-AES256-SHA384", (V12, V12)),
    "RSA key exchange": ("AES128-GCM-SHA256", (V12, V12)), "DHE": ("DHE-RSA-AES128-GCM-SHA256", (V12, V12)), "ChaCha20": ("ECDHE-RSA-CHACHA20-POLY1305", (V12, V12)), "AES-256": ("ECDHE-RSA-AES256-GCM-SHA384", (V12, V12)),
}
CHAINS = ["intermediate", "intermediate missing", "intermediate twice", "leaf behind it"]
CLIENT = ["client certificate"]
KINDS = [*LEAVES, *SELF_SIGNED, *PROTOCOLS, *CHAINS, *CLIENT]


def openssl(*arguments):
    done = subprocess.run(["openssl", *arguments], capture_output=True)
    if done.returncode:
        raise AssertionError(f"openssl {' '.join(arguments)}: {done.stderr.decode()[-500:]}")


def key_arguments(key):
    kind, _, size = key.partition(":")
    return ["-newkey", "ec", "-pkeyopt", f"ec_paramgen_curve:{size}"] if kind == "ec" else ["-newkey", key]


class Certificates:
    """Makes certificates in a folder when they are first needed."""

    def __init__(self, folder):
        if not shutil.which("openssl"):
            raise Skipped("openssl is not installed")
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.make_authority("ca")
        self.make_authority("other-ca")

    def path(self, name, kind):
        return str(self.folder / f"{name.replace(' ', '-')}.{kind}")

    def make_authority(self, name):
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self.path(name, "key"), "-out", self.path(name, "pem"), "-days", "3650", "-subj", f"/CN={name}")

    def sign(self, name, extensions, key="ec:P-256", arguments=(), issuer="ca"):
        openssl("req", *key_arguments(key), "-nodes", "-keyout", self.path(name, "key"), "-out", self.path(name, "csr"), "-subj", "/CN=127.0.0.1")
        more = []
        if extensions is not None:
            pathlib.Path(self.path(name, "ext")).write_text(extensions + "\n")
            more = ["-extfile", self.path(name, "ext")]
        days = [] if "-days" in arguments else ["-days", "365"]
        openssl("x509", "-req", "-in", self.path(name, "csr"), "-CA", self.path(issuer, "pem"), "-CAkey", self.path(issuer, "key"), "-CAcreateserial", "-out", self.path(name, "pem"),
                *days, *arguments, *more)

    @functools.cache
    def leaf(self, kind):
        """The name of the certificate of a kind; its files are there."""
        if kind in LEAVES:
            self.sign(kind, *LEAVES[kind])
        elif kind in SELF_SIGNED:
            openssl("req", "-x509", *key_arguments("ec:P-256"), "-nodes", "-keyout", self.path(kind, "key"), "-out", self.path(kind, "pem"), "-days", "365", "-subj", "/CN=127.0.0.1", *SELF_SIGNED[kind])
        elif kind in CHAINS:
            self.sign("middle", "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign")
            self.sign(kind, SAN, issuer="middle")
            leaf, middle = (pathlib.Path(self.path(name, "pem")).read_text() for name in (kind, "middle"))
            chain = {"intermediate": leaf + middle, "intermediate missing": leaf, "intermediate twice": leaf + middle + middle, "leaf behind it": leaf + leaf + middle}[kind]
            pathlib.Path(self.path(kind, "pem")).write_text(chain)
        else:
            return self.leaf("good")
        return kind

    def server_context(self, kind):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ciphers, versions = PROTOCOLS.get(kind, (None, None))
        context.set_ciphers((ciphers or "ALL") + ":@SECLEVEL=0")
        if versions:
            context.minimum_version, context.maximum_version = versions
        name = self.leaf(kind)
        context.load_cert_chain(self.path(name, "pem"), self.path(name, "key"))
        if kind in CLIENT:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.path("ca", "pem"))
        return context

    def client_settings(self, rng, kind):
        """The `tls_config` of a scrape."""
        name = self.leaf(kind)
        settings = rng.choice([{"ca_file": self.path("ca", "pem")}] * 4 + [{"ca_file": self.path(name, "pem")}] * 2 + [{"insecure_skip_verify": True}] * 2 + [{"ca_file": self.path("other-ca", "pem")}, {}])
        settings = dict(settings)
        if rng.random() < 0.15 or kind in ("localhost", "wildcard", "other name"):
            settings["server_name"] = rng.choice(["localhost", "a.example.org", "a.b.example.org", "example.org", "127.0.0.1", "other.example", "OTHER.example", "other.example."])
        if rng.random() < 0.15 or kind.startswith("TLS"):
            settings[rng.choice(["min_version", "max_version"])] = rng.choice(["TLS12", "TLS13"])
        if kind in CLIENT and rng.random() < 0.8:
            client = rng.choice(["good", "p256", "client authentication", "self-signed", "expired"])
            client = self.leaf(client)
            settings |= {"cert_file": self.path(client, "pem"), "key_file": self.path(client, "key")}
        return settings
