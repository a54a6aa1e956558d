"""Why `conviction up` gives up, each with its exit status."""

from __future__ import annotations


class Failure(Exception):
    """The root; the message is for whoever started us."""

    status = 1


class CannotStart(Failure):
    """A program ended time and again before it was ready even once."""


class CannotUse(Failure):
    """Something that was asked for is not to be had: a port, an interpreter, a build of the model."""

    status = 2


class WrongAnswers(Failure):
    """The weights built here do not answer as the published model did."""

    status = 3
