"""What can be wrong with a sealed file: one named error each, so that tests and logs can tell them apart."""

from __future__ import annotations

from foldpack.errors import FoldpackError


class SealedError(FoldpackError):
    """The base of everything that can go wrong with a sealed file."""


class UnreadableSealedError(SealedError):
    """The file is missing, is a folder, may not be read, or the disk failed while it was read."""


class EmptySealedError(SealedError):
    """The file holds no byte at all."""


class NotSealedError(SealedError):
    """The file does not begin with the magic of a sealed file."""


class NewerSealedError(SealedError):
    """The file is of a format version that this reader does not know."""


class SealedHeaderError(SealedError):
    """The header holds values that no writer writes, or its authentication code does not fit it."""


class TruncatedSealedError(SealedError):
    """The file is shorter than its header says."""


class ExtendedSealedError(SealedError):
    """The file is longer than its header says."""


class WrongKeyError(SealedError):
    """The data key is not the one that the file was sealed with."""


class SwappedSealedError(WrongKeyError):
    """Neither the key nor the pinned header hash fits: another sealed file lies in this one's place."""


class WrongRoleError(SealedError):
    """The key fits, but the file was sealed for another role."""


class RolledBackError(SealedError):
    """Key and role fit, but the header is not the pinned one: another version of the file."""


class DamagedChunkError(SealedError):
    """A chunk does not authenticate: its bytes were changed, moved or replaced."""


class SealedKeyFormatError(SealedError):
    """A data key is not 32 bytes, or a pinned hash or a key's text is not hexadecimal of the right length."""


class SealedRoleFormatError(SealedError):
    """A role is empty, too long, or holds control characters."""


class SealSourceError(SealedError):
    """What is to be sealed cannot be read, is empty, is a pickle, or changed meanwhile."""


class SealMismatchError(SealedError):
    """The sealed file, read back, did not give the source again."""


class SealedDiskFullError(SealedError):
    """No room on the disk for what is to be written."""


class SealedWriteError(SealedError):
    """What is to be written cannot be, for another reason than room."""


class SealedMemoryError(SealedError):
    """No room in memory for the decrypted content."""


class NotSafetensorsError(SealedError):
    """The content decrypted and verified, but is not a well-formed safetensors file."""
