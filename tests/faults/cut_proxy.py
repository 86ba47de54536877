"""A TCP proxy whose network a test cuts: connections stay open, and nothing passes until it is healed."""

import socket
import threading


class CutProxy:
    """Forwards all connections to a port of this machine, unless its network is cut."""

    def __init__(self, port: int) -> None:
        self._target, self._passes = port, threading.Event()
        self._passes.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Let nothing pass from now on."""
        self._passes.clear()

    def heal(self) -> None:
        """Let everything pass again, and what has waited meanwhile."""
        self._passes.set()

    def close(self) -> None:
        """Stop listening, and end what waits."""
        self._listener.close()
        self.heal()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:  # closed
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:  # nothing listens there yet
                near.close()
                continue
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                self._passes.wait()
                sink.sendall(data)
        except OSError:
            pass  # the other direction has ended
        finally:
            source.close()
            sink.close()
