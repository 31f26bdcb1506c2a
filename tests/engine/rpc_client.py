#!/usr/bin/env python3
"""An RPC client that asks for what no llama.cpp asks for: writes that reach beyond a cache must not change what lies
beside it.   rpc_client.py HOST PORT GGML_H [rows|result|mask|view]    (an operation that reaches beyond
its tensors: it must not run, and the server ends, as llama.cpp wants it when a graph fails)"""
import socket
import struct
import sys

ALLOC, BASE, CLEAR, SET, GET, COPY, COMPUTE, HELLO, MEMSET = 0, 3, 5, 6, 8, 9, 10, 14, 17
F32, F16, I64 = 0, 1, 27
WIDTH, CELLS, QUERIES = 64, 256, 4
CACHE = WIDTH * CELLS * 2


def operations(header):
    """The numbers of the operations, from ggml.h."""
    body = open(header, encoding="utf-8").read().split("enum ggml_op {")[1].split("}")[0]
    names = [line.strip().split(",")[0].split(" ")[0] for line in body.split("\n") if line.strip().startswith("GGML_OP_")]
    return {name: number for number, name in enumerate(names)}


class Server:
    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port))
        self.ask(HELLO, bytes(24), 28)

    def tell(self, command, body):
        self.socket.sendall(struct.pack("<BQ", command, len(body)) + body)

    def ask(self, command, body, size=None):
        self.tell(command, body)
        length = struct.unpack("<Q", self.read(8))[0]
        assert size in (None, length), (command, size, length)
        return self.read(length)

    def read(self, size):
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise ConnectionError
            data += part
        return data


class Tensor:
    def __init__(self, number, kind, ne, at, name="", op=0, params=b"", sources=(), root=None):
        self.number, self.kind, self.ne, self.at, self.name, self.op = number, kind, list(ne) + [1] * (4 - len(ne)), at, name, op
        self.params, self.sources, self.root = params, sources, root

    def bytes(self, buffer):
        nb = [{F32: 4, F16: 2, I64: 8}[self.kind]]
        for n in self.ne[:3]:
            nb.append(nb[-1] * n)
        sources = [s.number for s in self.sources] + [0] * (10 - len(self.sources))
        root = (self.root.number, self.at - self.root.at) if self.root else (0, 0)
        return (struct.pack("<QIQ4I4II", self.number, self.kind, buffer, *self.ne, *nb, self.op) + self.params.ljust(64, b"\0") +
                struct.pack("<i10QQQQ", 16, *sources, *root, self.at) + self.name.encode().ljust(64, b"\0") + bytes(4))


def compute(server, buffer, nodes, leaves):
    everything = leaves + nodes
    server.tell(COMPUTE, struct.pack("<II", 0, len(nodes)) + b"".join(struct.pack("<Q", n.number) for n in nodes) +
                struct.pack("<I", len(everything)) + b"".join(t.bytes(buffer) for t in everything))


def main():
    ops = operations(sys.argv[3])
    server = Server(sys.argv[1], int(sys.argv[2]))
    buffer, size = struct.unpack("<QQ", server.ask(ALLOC, struct.pack("<IQ", 0, 1 << 20), 16))
    assert size >= 1 << 20
    base = struct.unpack("<Q", server.ask(BASE, struct.pack("<Q", buffer), 8))[0]
    server.tell(CLEAR, struct.pack("<QB", buffer, 0))
    cache = base + 8192
    k = Tensor(1, F16, [WIDTH, CELLS], cache, "cache_k_l0")
    v = Tensor(2, F16, [WIDTH, CELLS], cache + CACHE, "cache_v_l0")
    q = Tensor(3, F32, [WIDTH, QUERIES], base + (1 << 19), "q")
    out = Tensor(4, F32, [WIDTH, 1, QUERIES], base + (1 << 19) + 65536, "out", ops["GGML_OP_FLASH_ATTN_EXT"],
                 struct.pack("<fff", 0.125, 0, 0), [q, k, v])
    beside = Tensor(5, F32, [1024], cache + 2 * CACHE, "beside")
    mark = struct.pack("<1024f", *range(1024))

    def write(tensor, offset, data):
        server.tell(SET, tensor.bytes(buffer) + struct.pack("<BQ", 0, offset) + data)

    def read(tensor, offset, length):
        return server.ask(GET, tensor.bytes(buffer) + struct.pack("<QQ", offset, length), length)

    rows = struct.pack(f"<{WIDTH}e", *[1 + i / 64 for i in range(WIDTH)]) * CELLS
    write(v, 0, rows)  # before there is a plane
    write(beside, 0, mark)
    compute(server, buffer, [out], [q, k, v])
    assert abs(struct.unpack("<f", read(out, 4, 4))[0]) < 2, "attention"
    assert read(v, 0, 2 * WIDTH) == rows[:2 * WIDTH], "rows that were there before"
    assert read(v, 5, 1) == rows[5:6], "one byte of a row"

    before = read(v, 0, CACHE)
    # llama.cpp looks whether a request lies within its tensor, but the tensor may claim more than it has.
    long_k = Tensor(6, F16, [WIDTH, 2 * CELLS], cache, "cache_k_l0")
    long_v = Tensor(7, F16, [WIDTH, 2 * CELLS], cache + CACHE, "cache_v_l0")
    write(long_k, CACHE - 64, rows[:128])
    write(long_k, CACHE, rows[:128])
    write(long_v, CACHE - 64, rows[:4096])
    server.tell(MEMSET, long_k.bytes(buffer) + struct.pack("<QQB", CACHE - 2, CACHE, 65))
    assert read(long_k, CACHE - 64, 128) == bytes(128)
    half = Tensor(8, F16, [WIDTH, CELLS], cache + CACHE // 2, "cache_k_l0")  # of K and of V
    server.ask(COPY, k.bytes(buffer) + half.bytes(buffer), 1)
    # One that begins before K, and ends in it.
    across = Tensor(12, F32, [4096], base, "across")
    write(across, 0, bytes([1]) * 16384)
    write(across, 4096, bytes([1]) * 12288)
    server.tell(MEMSET, across.bytes(buffer) + struct.pack("<QQB", 0, 16384, 65))
    assert read(across, 0, 16384) == bytes(16384), "rows of K as they never were"
    write(across, 0, bytes([1]) * 4096)
    assert read(across, 0, 4096) == bytes([1]) * 4096, "what lies before K"
    assert read(beside, 0, 4096) == mark, "the tensor beside"
    assert read(v, 0, CACHE) == before, "V"

    # Attention over nothing, at nothing.
    for ne in [WIDTH, CELLS, 0], [0, CELLS, 1]:
        none = Tensor(13, F16, ne, cache, "cache_k_l0")
        nothing = Tensor(14, F32, [WIDTH, 0, QUERIES], out.at, "nothing", out.op, out.params, [q, none, none])
        compute(server, buffer, [nothing], [q, none])
        assert read(v, 0, CACHE) == before, "the server has gone on"

    if len(sys.argv) > 4:
        odd = {
            "rows": Tensor(9, F16, [WIDTH, CELLS], cache, "cache_k_l0", ops["GGML_OP_SET_ROWS"], b"",
                           [Tensor(10, F32, [WIDTH, 64], base + (1 << 19)), Tensor(11, I64, [4], base + (1 << 19))], k),
            "result": Tensor(9, F32, [WIDTH, 1, 1], base + (1 << 20) - 256, "out", out.op, out.params, [q, k, v]),
            "mask": Tensor(9, F32, [WIDTH, 1, QUERIES], out.at, "out", out.op, out.params,
                           [q, k, v, Tensor(10, F16, [8, QUERIES], base + (1 << 20) - 64, "mask")]),
            "view": Tensor(9, F32, [WIDTH, 1, QUERIES], out.at, "out", out.op, out.params,
                           [q, Tensor(10, F16, [WIDTH, CELLS], cache + CACHE // 2, "k", 0, b"", [], k), v]),
        }[sys.argv[4]]
        compute(server, buffer, [odd], [q, k, v] + [s for s in odd.sources if s not in (q, k, v)])
        try:
            read(out, 0, 4)
        except ConnectionError:
            return
        raise SystemExit("the operation was run")


main()
