"""What the tests of ctrestorelib.pacs share: an Orthanc, made-up instances, awkward peers."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from ctrestorelib.pacs.credentials import Credentials
from ctrestorelib.pacs.peers import DicomNode, DicomWebServer, Timeouts
from ctrestorelib.pacs.tls import Tls

PATIENT = "MARKED^Zaphod"
PATIENT_ID = "MARKED-4711"
MARKS = ("MARKED", "Zaphod", "MARKED-4711")
USER, PASSWORD = "radiologist", "MARKED-secret-word"
QUICK = Timeouts(2.0, 4.0)
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def new_uid() -> str:
    return str(pydicom.uid.generate_uid(prefix=None))


def make_slice(study: str, series: str, number: int, size: int = 32) -> FileDataset:
    """Return a CT slice with a private element, a sequence, and letters beyond ASCII."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = new_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    slice_ = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    slice_.SpecificCharacterSet = "ISO_IR 192"
    slice_.SOPClassUID, slice_.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    slice_.StudyInstanceUID, slice_.SeriesInstanceUID = study, series
    slice_.PatientName, slice_.PatientID = PATIENT + "Müller", PATIENT_ID
    slice_.PatientBirthDate, slice_.PatientSex = "19600102", "O"
    slice_.StudyDate, slice_.StudyTime = "20200102", "101010"
    slice_.AccessionNumber = slice_.StudyID = slice_.ReferringPhysicianName = ""
    slice_.Modality, slice_.SeriesNumber, slice_.InstanceNumber = "CT", 301, number
    slice_.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    slice_.FrameOfReferenceUID = study + ".1" if len(study) < 62 else study
    slice_.ImagePositionPatient = [-10, -10, number * 1.25]
    slice_.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    slice_.PixelSpacing, slice_.SliceThickness = [0.5, 0.5], "1.25"
    slice_.SamplesPerPixel, slice_.PhotometricInterpretation = 1, "MONOCHROME2"
    slice_.Rows = slice_.Columns = size
    slice_.BitsAllocated, slice_.BitsStored, slice_.HighBit = 16, 16, 15
    slice_.PixelRepresentation = 1
    slice_.RescaleIntercept, slice_.RescaleSlope, slice_.RescaleType = "0", "1", "HU"
    item = pydicom.Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CTImageStorage, new_uid()
    slice_.SourceImageSequence = [item]
    block = slice_.private_block(0x0099, "CTRESTORE TEST", create=True)
    block.add_new(0x01, "UT", '{"method": "tv"}')
    pixels = np.random.default_rng(number).integers(-1024, 3000, (size, size), dtype=np.int16)
    slice_.PixelData = pixels.astype("<i2").tobytes()
    return slice_


@dataclass(frozen=True)
class Series:
    folder: Path
    study: str
    series: str
    files: tuple[Path, ...]

    @property
    def uids(self) -> list[str]:
        return [str(pydicom.dcmread(f).SOPInstanceUID) for f in self.files]


def make_series(folder: Path, count: int = 4, size: int = 32) -> Series:
    folder.mkdir(parents=True)
    study, series = new_uid(), new_uid()
    files = []
    for number in range(1, count + 1):
        files.append(folder / f"IM{number:05d}.dcm")
        make_slice(study, series, number, size).save_as(files[-1], enforce_file_format=True)
    return Series(folder, study, series, tuple(files))


def body_bytes(path: Path) -> bytes:
    """Return the data set of a file without its file meta information."""
    meta_end = 144 + pydicom.filereader.read_file_meta_info(path).FileMetaInformationGroupLength
    return path.read_bytes()[meta_end:]


@dataclass
class Orthanc:
    """A running Orthanc on loopback."""

    dicom_port: int
    http_port: int
    aet: str
    commit_port: int
    root: Path
    certificate: Path | None = None

    def node(self, **changes) -> DicomNode:
        given = {
            "host": "127.0.0.1", "port": self.dicom_port, "called": self.aet,
            "calling": "CTRESTORE", "timeouts": QUICK,
        }  # fmt: skip
        if self.certificate:
            given |= {"host": "localhost", "tls": Tls(self.certificate)}
        return DicomNode(**(given | changes))

    def web(self, **changes) -> DicomWebServer:
        given = {
            "url": f"http://127.0.0.1:{self.http_port}/dicom-web",
            "credentials": Credentials(USER, PASSWORD), "timeouts": QUICK,
        }  # fmt: skip
        return DicomWebServer(**(given | changes))

    def rest(self, path: str, data: object | None = None):
        body = None if data is None else json.dumps(data).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}", body)
        pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        request.add_header("Authorization", f"Basic {pair}")
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.loads(answer.read() or b"null")

    def holds(self, uid: str) -> bool:
        query = {"Level": "Instance", "Query": {"SOPInstanceUID": uid}}
        return bool(self.rest("/tools/find", query))


@contextlib.contextmanager
def running_orthanc(root: Path, *, certificate: tuple[Path, Path] | None = None, **more):
    if shutil.which("Orthanc") is None or not PLUGIN.exists():
        pytest.skip("needs an Orthanc: apt-get install orthanc orthanc-dicomweb")
    root.mkdir()
    found = Orthanc(
        free_port(), free_port(), "ORTHANC", free_port(), root, certificate and certificate[0]
    )
    config = {
        "Name": "bench", "DicomAet": "ORTHANC", "DicomPort": found.dicom_port,
        "HttpPort": found.http_port, "StorageDirectory": str(root), "IndexDirectory": str(root),
        "RemoteAccessAllowed": False, "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD}, "DicomCheckCalledAet": True,
        "DicomScpTimeout": 1,
        "DicomAlwaysAllowStore": False, "DicomAlwaysAllowEcho": False,
        "DicomModalities": {
            "us": {"AET": "CTRESTORE", "Host": "127.0.0.1", "Port": found.commit_port,
                   "AllowStorageCommitment": True},
        },
        "Plugins": [str(PLUGIN)], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }  # fmt: skip
    if certificate:
        config |= {
            "DicomTlsEnabled": True, "DicomTlsCertificate": str(certificate[0]),
            "DicomTlsPrivateKey": str(certificate[1]),
            "DicomTlsTrustedCertificates": str(certificate[0]),
            "DicomTlsRemoteCertificateRequired": False,
        }  # fmt: skip
    (root / "orthanc.json").write_text(json.dumps(config | more))
    log = root / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["Orthanc", str(root / "orthanc.json")], stdout=output, stderr=output,
            start_new_session=True, env={**os.environ, "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
    try:
        _wait_for(found, process, log)
        yield found
    finally:
        process.kill()  # its store is thrown away, and an orderly end takes 3 s
        process.wait(10)


def _wait_for(orthanc: Orthanc, process: subprocess.Popen, log: Path) -> None:
    for _ in range(200):
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError):
            orthanc.rest("/system")
            return
        time.sleep(0.05)
    pytest.fail(log.read_text())


def make_certificate(folder: Path, name: str = "localhost") -> tuple[Path, Path]:
    """Return a fresh self-signed certificate and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl on the path")
    folder.mkdir(exist_ok=True)
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


class CuttingProxy:
    """Passes bytes on to a port; breaks every connection after ``limit`` bytes to the server.

    With a certificate it ends TLS: Debian's Orthanc crashes when it serves HTTPS itself.
    """

    def __init__(
        self,
        target: int,
        limit: int | None = None,
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        self.target, self.limit, self.passed = target, limit, 0
        self._tls: ssl.SSLContext | None = None
        if certificate:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*certificate)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._tls:
                    try:
                        client = self._tls.wrap_socket(client, server_side=True)
                    except (OSError, ssl.SSLError):
                        continue  # the client does not trust us
                server = socket.create_connection(("127.0.0.1", self.target))
                for pair in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while piece := source.recv(4096):
                passed += len(piece)
                if counted:
                    self.passed += len(piece)
                    if self.limit is not None and passed > self.limit:
                        break
                sink.sendall(piece)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class SilentPort:
    """Accepts connections and never says a word; or says half a word first."""

    def __init__(self, first_bytes: bytes = b"") -> None:
        self._kept: list[socket.socket] = []
        self._first = first_bytes
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        for end in (self._listener, *self._kept):
            end.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._kept.append(client)
                client.sendall(self._first)
