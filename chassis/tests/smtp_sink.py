"""A mail server on a real socket, which can be told to misbehave."""

import email
import email.policy
import socketserver
from contextlib import contextmanager
from threading import Event, Thread

HANG_UP, HANG = "hang up", "hang"
END_OF_DATA = "."


class Session(socketserver.StreamRequestHandler):
    """One SMTP conversation (RFC 5321), with the server's `answers` in place of the polite ones."""

    def handle(self):
        self.sender, self.recipients = None, []
        going_on = self.reply("CONNECT", "220 sink ready")
        while going_on and (line := self.rfile.readline()):
            command = line.decode().split(":")[0].split()[0].upper()
            self.server.commands.append(command)
            going_on = self.obey(command, line.decode().strip())

    def obey(self, command, line):
        match command:
            case "MAIL":
                self.sender = line.partition("<")[2].partition(">")[0]
            case "RCPT":
                self.recipients.append(line.partition("<")[2].rpartition(">")[0])
                return self.reply(self.recipients[-1], self.server.answers.get("RCPT", "250 fine"))
            case "DATA":
                return self.take_data()
            case "QUIT":
                self.reply(command, "221 bye")
                return False
        return self.reply(command, "250 fine")

    def take_data(self):
        if "DATA" in self.server.answers:
            return self.reply("DATA", "")
        self.reply("DATA", "354 go on")
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b"."))
        message = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
        self.server.received.append((self.sender, self.recipients, message))
        return self.reply(END_OF_DATA, "250 taken")

    def reply(self, command, text):
        text = self.server.answers.get(command, text)
        if text == HANG:
            self.server.hanging.set()
            self.server.closing.wait(10)
        if text in (HANG, HANG_UP):
            return False
        self.wfile.write(f"{text}\r\n".encode())
        return True


class Sink(socketserver.ThreadingTCPServer):
    """`answers` are by command, END_OF_DATA or the address of a recipient."""

    daemon_threads, block_on_close = True, True
    allow_reuse_address = True

    def __init__(self, port=0):
        super().__init__(("127.0.0.1", port), Session)
        self.answers, self.received, self.commands = {}, [], []
        self.hanging, self.closing = Event(), Event()

    @property
    def port(self):
        return self.server_address[1]


@contextmanager
def serving(port=0):
    """Run a sink at a port of its own, or at this one."""
    with Sink(port) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()
