"""Remotes of DVC on this machine: a folder, an S3 server, an SSH server.

S3 needs dvc-s3 and moto's server, SSH needs dvc-ssh (requirements-remotes.txt); without them their
tests are skipped.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

KINDS = ("folder", "s3", "ssh")


@dataclass(frozen=True)
class Remote:
    """What a person types to use a remote, and what the environment must hold."""

    url: str
    settings: dict[str, str] = field(default_factory=dict)  # of `dvc remote modify --local`
    environment: dict[str, str] = field(default_factory=dict)


@contextmanager
def serve(kind: str, folder: Path) -> Iterator[Remote]:
    """Serve a remote of a kind until the block ends; its files lie in `folder`, or in memory."""
    if kind == "folder":
        yield Remote(str(folder / "store"))
        return
    with {"s3": _serve_s3, "ssh": _serve_ssh}[kind](folder) as remote:
        yield remote


@contextmanager
def _serve_s3(folder: Path) -> Iterator[Remote]:
    pytest.importorskip("dvc_s3")
    server_module = pytest.importorskip("moto.server")
    from botocore.session import get_session

    keys = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "secret"}
    environment = {**keys, "AWS_DEFAULT_REGION": "us-east-1"}
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        address = f"http://{host}:{port}"
        client = get_session().create_client(
            "s3",
            endpoint_url=address,
            region_name="us-east-1",
            aws_access_key_id="someone",
            aws_secret_access_key="secret",
        )
        client.create_bucket(Bucket="bucket")
        yield Remote("s3://bucket/path", {"endpointurl": address}, environment)
    finally:
        server.stop()


@contextmanager
def _serve_ssh(folder: Path) -> Iterator[Remote]:
    pytest.importorskip("dvc_ssh")
    asyncssh = pytest.importorskip("asyncssh")
    files, key_file = folder / "files", folder / "key"
    files.mkdir()
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(key_file)
    key.write_public_key(folder / "known")
    loop = asyncio.new_event_loop()

    async def listen() -> "asyncssh.SSHAcceptor":
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            authorized_client_keys=str(folder / "known"),
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(files)),
        )

    acceptor = loop.run_until_complete(listen())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        settings = {"port": str(acceptor.get_port()), "user": "someone", "keyfile": str(key_file)}
        yield Remote("ssh://127.0.0.1/store", settings)
    finally:
        loop.call_soon_threadsafe(acceptor.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
