# SPDX-License-Identifier: Apache-2.0
"""TLS where certificates are given: a service's HTTPS and the NATS of an installation, and what is refused."""

from __future__ import annotations

import shutil
import signal
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import nats
import nats.errors
import pytest

from postman_kit.bus import Bus
from postman_kit.embedded.child import Child, choose_port
from postman_kit.embedded.nats import server_program
from postman_kit.installation import main

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates of this test")

SERVICE = """
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from postman_kit.app import ServeError, create_app, listen, serve
from postman_kit.auth import KeyRing

@asynccontextmanager
async def lifespan(_):
    yield

app = create_app("x", "1", key_ring=KeyRing([]), ready_checks={}, lifespan=lifespan)
try:
    serve(app, listen("127.0.0.1", int(sys.argv[1])), (Path(sys.argv[2]), Path(sys.argv[3])))
except ServeError as error:
    sys.exit(f"refused: {error}")
"""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, its own authority, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    about = ["-subj", "/CN=postman", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "1"]
    made = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subprocess.run([*command, *about, *made], check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


def answers(url: str, context: ssl.SSLContext | None) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=2, context=context) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False


def test_a_service_serves_https(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    port = choose_port(0, "service")
    service = Child("service", tmp_path / "log", signal.SIGTERM)
    service.start([sys.executable, "-c", SERVICE, str(port), *map(str, certificate)])
    try:
        trusting = ssl.create_default_context(cafile=certificate[0])
        service.wait_until(lambda: answers(f"https://127.0.0.1:{port}", trusting), 20)
        assert not answers(f"http://127.0.0.1:{port}", None)
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            urllib.request.urlopen(f"https://127.0.0.1:{port}/healthz", timeout=2)
    finally:
        service.stop()


def test_files_that_are_no_certificate_are_said_plainly(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "wrong.pem").write_text("no certificate")
    for wrong in (tmp_path / "wrong.pem", tmp_path / "missing.pem"):
        command = [sys.executable, "-c", SERVICE, "0", str(wrong), str(certificate[1])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        assert done.stderr.startswith("refused: cannot serve HTTPS"), done.stderr
        assert "POSTMAN_TLS_CERT_FILE" in done.stderr


async def ignore(_: Exception) -> None:
    pass


async def test_nats_speaks_tls_only_with_its_certificate(
    tmp_path: Path, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, folder = choose_port(0, "nats"), tmp_path / "installation"
    place = ["--nats-host", "127.0.0.1", "--nats-port", str(port), "--nats-listen", f"127.0.0.1:{port}"]
    files = ["--nats-tls-cert", str(certificate[0]), "--nats-tls-key", str(certificate[1])]
    monitor = ["--nats-monitor", f"127.0.0.1:{choose_port(0, 'monitor')}", "--nats-store", str(tmp_path / "store")]
    assert main([str(folder), *place, *files, *monitor]) == 0
    server = Child("nats", tmp_path / "log", signal.SIGTERM)
    server.start([str(server_program()), "-c", str(folder / "nats/server.conf")])
    try:
        server.wait_until(lambda: "Server is ready" in server.log_tail(), 20)
        url = (folder / "health/nats.url").read_text().strip()
        assert url.startswith("tls://health:")
        for wrong in (url, url.replace("tls://", "nats://")):
            with pytest.raises((nats.errors.Error, OSError)):
                await nats.connect(wrong, allow_reconnect=False, error_cb=ignore)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        trusting = Bus(url, name="test")
        await trusting.start()
        assert await trusting.wait_connected(20)
        await trusting.stop()
    finally:
        server.stop()
