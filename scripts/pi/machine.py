"""An emulated computer: QEMU, its console as a shell, and its registers seen from outside.

Knows nothing of hookbell. Everything that waits has a limit; what it says when the limit is over shows the console's end.
"""

import json
import os
import re
import shutil
import socket
import stat
import subprocess
import tempfile
import threading
import time


class Broken(Exception):
    """The machine did not do what any machine does: start, answer, end a command."""


def initramfs(path, files):
    """Writes the kernel's first file system, a cpio archive of (name, mode, content) with the folders they need."""
    entries, folders = [], set()
    for name, mode, content in files:
        parts = name.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            folder = "/".join(parts[:depth])
            if folder not in folders:
                folders.add(folder)
                entries.append((folder, stat.S_IFDIR | 0o755, b""))
        entries.append((name, stat.S_IFREG | mode, content))
    entries.append(("TRAILER!!!", 0, b""))
    with open(path, "wb") as archive:
        for number, (name, mode, content) in enumerate(entries, 1):
            raw = name.encode() + b"\0"
            fields = [number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(raw), 0]
            record = b"070701" + b"".join(b"%08x" % field for field in fields) + raw
            record += b"\0" * (-len(record) % 4)
            archive.write(record + content + b"\0" * (-len(content) % 4))


def free_port():
    """A port of this machine's loopback that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Monitor:
    """One of QEMU's control sockets."""

    def __init__(self, connection):
        self.connection = connection
        self.lines = connection.makefile("rb")
        if not self.lines.readline():
            raise Broken("QEMU has gone")
        self.ask("qmp_capabilities")

    def ask(self, command, **arguments):
        request = {"execute": command, "arguments": arguments}
        self.connection.sendall(json.dumps(request).encode())
        while True:
            line = self.lines.readline()
            if not line:
                raise Broken("QEMU has gone")
            answer = json.loads(line)
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise Broken(f"QEMU refuses {command}: {answer['error']['desc']}")

    def words(self, address, count):
        """Registers, as the processor would read them."""
        text = self.ask("human-monitor-command", **{"command-line": f"xp /{count}wx {address:#x}"})
        return [int(word, 16) for word in re.findall(r"0x([0-9a-f]{8})\b", text)]


class Machine:
    """A running guest. Use it in a `with`: at its end nothing of it is left."""

    def __init__(self, qemu, options, serial_before, log):
        self.folder = tempfile.mkdtemp(prefix="pi-")
        self.log = open(log, "wb")
        self.text = ""
        self.news = threading.Condition()
        self.process = self.reader = None
        sockets = {name: self._listen(name) for name in ("console", "control", "watch")}
        command = [*qemu, *options, "-display", "none", "-no-reboot", "-nodefaults"]
        command += ["-serial", "null"] * serial_before
        command += ["-chardev", f"socket,id=c,path={self.folder}/console", "-serial", "chardev:c"]
        for name in ("control", "watch"):
            command += ["-chardev", f"socket,id={name},path={self.folder}/{name}", "-mon", f"chardev={name},mode=control"]
        self.started = time.monotonic()
        try:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
            self.console = self._accept(sockets["console"])
            self.control = Monitor(self._accept(sockets["control"]))
            self.watched = Monitor(self._accept(sockets["watch"]))
        except BaseException as error:
            self.close()
            if isinstance(error, Broken):
                raise Broken(f"QEMU does not start ({error}): {self._words()}") from None
            raise
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _listen(self, name):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(os.path.join(self.folder, name))
        listener.listen(1)
        listener.settimeout(1)
        return listener

    def _accept(self, listener, seconds=20):
        until = time.monotonic() + seconds
        while True:
            try:
                connection = listener.accept()[0]
                listener.close()
                connection.settimeout(None)
                return connection
            except TimeoutError:
                if self.process.poll() is not None:
                    raise Broken("it has ended") from None
                if time.monotonic() > until:
                    raise Broken(f"it did not connect within {seconds} s") from None

    def _words(self):
        """What QEMU itself said."""
        with open(self.log.name, errors="replace") as words:
            return words.read()[-2000:]

    def _read(self):
        while True:
            try:
                piece = self.console.recv(65536)
            except OSError:
                piece = b""
            with self.news:
                if piece:
                    self.log.write(piece)
                    self.log.flush()
                    self.text += piece.decode(errors="replace").replace("\r", "")
                self.news.notify_all()
            if not piece:
                return

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def cut(self):
        """A power cut: QEMU ends at once, and with it all that the guest had only in its memory."""
        self.process.kill()
        self.process.wait()

    def switched_off(self, seconds=30):
        """Waits until the guest has switched itself off."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Broken(f"it was not switched off within {seconds} s; the console's end:\n{self.tail()}") from None

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.reader:
            # It ends with the console, which has ended with QEMU.
            self.reader.join(5)
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def tail(self, lines=25):
        """The console's last words."""
        return "\n".join("    | " + line for line in self.text.splitlines()[-lines:])

    def until(self, pattern, since, seconds, what):
        """Waits until the console has shown this after that place; returns the match."""
        end = time.monotonic() + seconds
        with self.news:
            while True:
                found = re.compile(pattern, re.M).search(self.text, since)
                if found:
                    return found
                left = end - time.monotonic()
                if self.process.poll() is not None:
                    raise Broken(f"QEMU ended while waiting for {what}; the console's end:\n{self.tail()}")
                if left <= 0:
                    raise Broken(f"{what} did not come within {seconds} s; the console's end:\n{self.tail()}")
                self.news.wait(min(left, 1))

    def boot(self, seconds=200):
        """Waits for the guest's shell. Returns the seconds that it took."""
        self.until(r":ready$", 0, seconds, "the start of the guest")
        return time.monotonic() - self.started

    def shell(self, line, seconds=60):
        """Runs a line in the guest's shell, as root. Returns its exit status and what it said."""
        since = len(self.text)
        self.console.sendall(line.encode() + b"\n")
        end = self.until(r":end (\d+)$", since, seconds, f"the end of `{line}`")
        return int(end.group(1)), self.text[since : end.start()].strip("\n")

    def must(self, line, seconds=60):
        """The same for a line that cannot fail."""
        status, said = self.shell(line, seconds)
        if status:
            raise Broken(f"`{line}` ended with {status}: {said}")
        return said


class Watcher:
    """Samples registers in a thread of its own, and keeps what changed."""

    def __init__(self, machine, registers, pause=0.001):
        """`registers` are (name, address, words). `pause`: seconds between two samples; without one, almost as fast as
        the emulator answers, which slows it down."""
        self.pause = pause
        self.machine = machine
        self.registers = registers
        self.changes = {name: [] for name, _, _ in registers}
        self.samples = 0
        self.gap_max = 0.0
        self.ended = False
        self.error = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        before = None
        try:
            while not self.ended:
                for name, address, words in self.registers:
                    value = tuple(self.machine.watched.words(address, words))
                    now = time.monotonic()
                    changes = self.changes[name]
                    if not changes or changes[-1][1] != value:
                        changes.append((now, value))
                self.samples += 1
                if before is not None:
                    self.gap_max = max(self.gap_max, now - before)
                before = now
                time.sleep(self.pause)
        except (Broken, OSError, ValueError) as error:
            self.error = error

    def stop(self):
        self.ended = True
        self.thread.join(5)
        if self.error:
            raise Broken(f"watching the pins ended early: {self.error}")
