"""The errors that end `conviction up`, each with its exit status."""

from __future__ import annotations


class Failure(Exception):
    """The root; the message is for the operator."""

    status = 1


class CannotStart(Failure):
    """A program exited several times in a row before it was ready."""


class CannotUse(Failure):
    """A requested resource is unavailable: a port, an interpreter, a build of the model."""

    status = 2


class WrongAnswers(Failure):
    """The weights built on this machine do not answer as the published model did."""

    status = 3
