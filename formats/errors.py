"""Exceptions of the toolkit: one class for each thing a caller can do about it.

    LaconicError                1  anything else
    |- ParameterError           2  an argument is out of range or contradicts another
    |- FormatError              3  a file is damaged or truncated
    |   `- DesyncError          3  decoded symbols are not the encoded ones
    |- ModelError               4  the model is missing or is not the one a stream names
    |- LimitError               5  a header claims more than the limits allow
    |- UnsupportedError         6  valid, but newer than this version or of an unknown kind
    `- OutputError              1  the target exists, cannot be written, or the disk is full

The number is the exit code of the command line.
"""

from __future__ import annotations


class LaconicError(Exception):
    """Base of every error that the toolkit raises on purpose."""

    exit_code = 1


class ParameterError(LaconicError, ValueError):
    """An argument is out of range or contradicts another; change the call."""

    exit_code = 2


class FormatError(LaconicError, ValueError):
    """The file is damaged or truncated; fetch it again."""

    exit_code = 3


class DesyncError(FormatError):
    """The bytes are intact but the decoded symbols differ from the encoded ones."""


class ModelError(LaconicError):
    """The model is missing or is not the one that the stream names; install it."""

    exit_code = 4


class LimitError(LaconicError, ValueError):
    """The header claims more than the limits allow; raise the limits if you trust the file."""

    exit_code = 5


class UnsupportedError(LaconicError, ValueError):
    """The file is valid but nothing here reads it; install a newer version or the codec."""

    exit_code = 6


class OutputError(LaconicError, OSError):
    """The output cannot be written; nothing was changed."""
