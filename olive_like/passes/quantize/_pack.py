"""The GPTQ storage format: integers in int32 words, zero points less one, a group index per input."""

from __future__ import annotations

import torch


def word_rows(count: int, bits: int) -> int:
    """How many int32 words hold `count` values."""
    return -(-count * bits // 32)


def pack_rows(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """[n, k] uint8 -> [n, words] int32: a little-endian stream of bits along each row."""
    n, k = codes.shape
    per = 32 if bits == 3 else 32 // bits
    if k % per:
        codes = torch.nn.functional.pad(codes, (0, per - k % per))
    stream = codes.reshape(-1)
    if bits == 2:
        stream = _paired(stream, 2)
    if bits in (2, 4):
        stream = _paired(stream, 4)
    if bits == 3:
        eights = stream.view(torch.int64)
        for shift, mask in ((5, 0x003F003F003F003F), (10, 0x00000FFF00000FFF), (20, 0xFFFFFF)):
            eights = (eights >> shift).bitwise_or_(eights).bitwise_and_(mask)
        stream = eights.view(torch.uint8).view(-1, 8)[:, :3].reshape(-1)
    return stream.view(torch.int32).view(n, -1)[:, : word_rows(k, bits)]


def _paired(stream: torch.Tensor, bits: int) -> torch.Tensor:
    """Bytes of so few bits, every two of them in one: a shift of both, which needs no strided reads."""
    pairs = stream.view(torch.int16)
    return (pairs >> (8 - bits)).bitwise_or_(pairs).to(torch.uint8)


def unpack_rows(words: torch.Tensor, bits: int, count: int) -> torch.Tensor:
    """[n, words] int32 -> [n, count] uint8."""
    stream = words.clone(memory_format=torch.contiguous_format).reshape(-1).view(torch.uint8).view(len(words), -1)
    n = stream.shape[0]
    if bits == 8:
        codes = stream
    elif bits == 4:
        codes = torch.stack([stream & 15, stream >> 4], dim=-1).view(n, -1)
    elif bits == 2:
        codes = torch.stack([(stream >> s) & 3 for s in (0, 2, 4, 6)], dim=-1).view(n, -1)
    else:
        threes = stream[:, : stream.shape[1] // 3 * 3].view(n, -1, 3).to(torch.int32)
        word = threes[..., 0] | (threes[..., 1] << 8) | (threes[..., 2] << 16)
        codes = torch.stack([(word >> (3 * i)) & 7 for i in range(8)], dim=-1).to(torch.uint8).view(n, -1)
    return codes[:, :count]


def pack_weight(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """[out, in] -> qweight [words of in, out]."""
    return pack_rows(codes, bits).T.contiguous()


def unpack_weight(qweight: torch.Tensor, bits: int, inputs: int) -> torch.Tensor:
    return unpack_rows(qweight.T, bits, inputs)


def pack_zeros(zeros: torch.Tensor, bits: int) -> torch.Tensor:
    """[out, groups] -> qzeros [groups, words of out]. Zero points are never 0, so none wraps around."""
    return pack_rows((zeros - 1).T.contiguous(), bits)


def unpack_zeros(qzeros: torch.Tensor, bits: int, outputs: int) -> torch.Tensor:
    # A stored value of all ones is a zero point of 0 in files that others wrote.
    return ((unpack_rows(qzeros, bits, outputs) + 1) & (2**bits - 1)).T
