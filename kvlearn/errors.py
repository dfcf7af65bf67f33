"""The three kinds of error, never mixed.

* `RequestError` and its children are *answers to a client*; they carry etcd's gRPC code and text.
* `ProposalDropped`, `ConfChangeError`, `StorageError` are *conditions that a caller handles*.
* `Violation` and `Blank` are *verdicts*: a promise was broken, an exercise is not filled in yet.

Source: etcd api/v3rpc/rpctypes/error.go (codes and texts).
"""

from __future__ import annotations

from collections.abc import Iterator


class KVLearnError(Exception):
    """The root of every error that kvlearn raises on purpose."""


# Answers to a client ------------------------------------------------------------------------


class RequestError(KVLearnError):
    """A request was refused. `code` is the gRPC status name, `text` the message that etcd sends."""

    code = "UNKNOWN"
    text = "etcdserver: unknown error"

    def __init__(self, text: str | None = None, hint: str = ""):
        self.text = text or type(self).text
        self.hint = hint
        super().__init__(f"{self.text} ({hint})" if hint else self.text)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.args == other.args

    def __hash__(self) -> int:
        return hash((type(self), self.args))


class InvalidArgument(RequestError):
    """The request itself is malformed."""

    code = "INVALID_ARGUMENT"
    text = "etcdserver: invalid argument"


class EmptyKey(InvalidArgument):
    """A request without a key."""

    text = "etcdserver: key is not provided"


class KeyNotFound(InvalidArgument):
    """A flag needs the key's present record, and there is none."""

    text = "etcdserver: key not found"


class ValueProvided(InvalidArgument):
    """`ignore_value` together with a value."""

    text = "etcdserver: value is provided"


class LeaseProvided(InvalidArgument):
    """`ignore_lease` together with a lease."""

    text = "etcdserver: lease is provided"


class InvalidSortOption(InvalidArgument):
    """A sort order or target that does not exist."""

    text = "etcdserver: invalid sort option"


class DuplicateKey(InvalidArgument):
    """A transaction's branch would change a key twice."""

    text = "etcdserver: duplicate key given in txn request"


class TooManyOps(InvalidArgument):
    """A transaction with more operations than the server takes."""

    text = "etcdserver: too many operations in txn request"


class RequestTooLarge(InvalidArgument):
    """A request above the limit of the server."""

    text = "etcdserver: request is too large"


class NoSpace(RequestError):
    """The backend is above its quota: compact, defragment and disarm the alarm."""

    code = "RESOURCE_EXHAUSTED"
    text = "etcdserver: mvcc: database space exceeded"


class Corrupt(RequestError):
    """The members differ, so nothing more is written: compare their hashes, disarm the alarm."""

    code = "DATA_LOSS"
    text = "etcdserver: corrupt cluster"


class LeaseNotFound(RequestError):
    """The request names a lease that nobody holds."""

    code = "NOT_FOUND"
    text = "etcdserver: requested lease not found"


class LeaseExists(RequestError):
    """The id that a lease shall get is taken."""

    code = "FAILED_PRECONDITION"
    text = "etcdserver: lease already exists"


class LeaseTtlTooLarge(RequestError):
    """A time to live that no clock could count down."""

    code = "OUT_OF_RANGE"
    text = "etcdserver: too large lease TTL"


class Compacted(RequestError):
    """The revision asked for lies below the compacted one."""

    code = "OUT_OF_RANGE"
    text = "etcdserver: mvcc: required revision has been compacted"


class FutureRevision(RequestError):
    """The revision asked for lies above the current one."""

    code = "OUT_OF_RANGE"
    text = "etcdserver: mvcc: required revision is a future revision"


class ClientGone(RequestError):
    """The client was closed, or has crashed: it asks nothing any more."""

    code = "CANCELLED"
    text = "etcdserver: client is gone"


class ReadOnly(RequestError):
    """The client was made to read; nothing was sent."""

    code = "FAILED_PRECONDITION"
    text = "etcdserver: client only reads"


class WatchCanceled(RequestError):
    """The watch has ended; the text says why."""

    code = "CANCELLED"
    text = "etcdserver: watch canceled"


class Unavailable(RequestError):
    """The node cannot serve now and has not carried the request out; asking again is safe."""

    code = "UNAVAILABLE"
    text = "etcdserver: request refused, try again"


class NoLeader(Unavailable):
    """The node knows no leader, so it can neither write nor read linearizably."""

    text = "etcdserver: no leader"


class LearnerNotServing(Unavailable):
    """A learner answers for its own state and for reads that may be stale, and nothing else."""

    text = "etcdserver: rpc not supported for learner"


class Stopped(Unavailable):
    """The node is down: nobody answers at its address."""

    text = "etcdserver: server stopped"


class TooManyRequests(RequestError):
    """More waits for its commit than the leader takes; nothing was done."""

    code = "RESOURCE_EXHAUSTED"
    text = "etcdserver: too many requests"


class Unhealthy(Unavailable):
    """Not all voters answer the leader: no time to add another."""

    text = "etcdserver: unhealthy cluster"


class FailedPrecondition(RequestError):
    """The cluster is not in a state in which this can be done."""

    code = "FAILED_PRECONDITION"
    text = "etcdserver: failed precondition"


class MemberExists(FailedPrecondition):
    """The member to be added is one already."""

    text = "etcdserver: member ID already exist"


class MemberNotFound(RequestError):
    """There is no such member."""

    code = "NOT_FOUND"
    text = "etcdserver: member not found"


class PeerUrlsExist(FailedPrecondition):
    """Another member is reached by one of these URLs."""

    text = "etcdserver: Peer URLs already exists"


class BadMemberUrls(InvalidArgument):
    """No URL is given, or what is given is none."""

    text = "etcdserver: given member URLs are invalid"


class NotEnoughStarted(RequestError):
    """Those that have started would be no majority of the voters. (etcd gives it no other code.)"""

    text = "etcdserver: re-configuration failed due to not enough started members"


class MemberNotLearner(FailedPrecondition):
    """Only a learner can be promoted."""

    text = "etcdserver: can only promote a learner member"


class LearnerNotReady(FailedPrecondition):
    """The learner lacks too much of the log to be given a vote."""

    text = "etcdserver: can only promote a learner member which is in sync with leader"


class TooManyLearners(FailedPrecondition):
    """One learner at a time."""

    text = "etcdserver: too many learner members in cluster"


class NotLeader(FailedPrecondition):
    """Only the leader can hand its office on."""

    text = "etcdserver: not leader"


class BadLeaderTransferee(FailedPrecondition):
    """Only a voter can be made leader."""

    text = "etcdserver: bad leader transferee"


class RootUserMissing(FailedPrecondition):
    """Authentication needs somebody who may do everything."""

    text = "etcdserver: root user does not exist"


class RootRoleMissing(FailedPrecondition):
    """The user root has to have the role root."""

    text = "etcdserver: root user does not have root role"


class UserExists(FailedPrecondition):
    """There is a user of this name."""

    text = "etcdserver: user name already exists"


class UserNotFound(FailedPrecondition):
    """There is no such user."""

    text = "etcdserver: user name not found"


class RoleExists(FailedPrecondition):
    """There is a role of this name."""

    text = "etcdserver: role name already exists"


class RoleNotFound(FailedPrecondition):
    """There is no such role."""

    text = "etcdserver: role name not found"


class RoleNotGranted(FailedPrecondition):
    """The user does not have this role."""

    text = "etcdserver: role is not granted to the user"


class PermissionNotGranted(FailedPrecondition):
    """The role has no permission on exactly these keys."""

    text = "etcdserver: permission is not granted to the role"


class AuthNotEnabled(FailedPrecondition):
    """Authentication is off, so there is nobody to be."""

    text = "etcdserver: authentication is not enabled"


class UserEmpty(InvalidArgument):
    """A request that needs somebody's permission, and says nobody's name."""

    text = "etcdserver: user name is empty"


class RoleEmpty(InvalidArgument):
    """A role without a name."""

    text = "etcdserver: role name is empty"


class PermissionNotGiven(InvalidArgument):
    """A permission was to be granted, and the request has none."""

    text = "etcdserver: permission not given"


class InvalidAuthManagement(InvalidArgument):
    """It would leave nobody who may do everything, or grants a permission on no key."""

    text = "etcdserver: invalid auth management"


class AuthFailed(InvalidArgument):
    """No such user, or another password; nobody is told which."""

    text = "etcdserver: authentication failed, invalid user ID or password"


class NoPasswordUser(RequestError):
    """This user is known by a certificate alone."""

    text = "auth: authentication failed, password was given for no password user"


class PermissionDenied(RequestError):
    """The user has no permission for this."""

    code = "PERMISSION_DENIED"
    text = "etcdserver: permission denied"


class InvalidAuthToken(RequestError):
    """A token that stands for nobody, or for nobody any more: authenticate again."""

    code = "UNAUTHENTICATED"
    text = "etcdserver: invalid auth token"


class TimedOut(RequestError):
    """No answer in time. A write may have been carried out or not: look before you repeat it."""

    code = "UNAVAILABLE"
    text = "etcdserver: request timed out"


class LeaderTransferTimedOut(TimedOut):
    """The chosen node did not take over within an election timeout; the old leader goes on."""

    text = "etcdserver: request timed out, leader transfer took too long"


# What the recipes say (kvlearn/recipes); etcd's texts where etcd has one


class RecipeError(RequestError):
    """A lock, an election or another recipe cannot go on; the servers know nothing of it. The lock
    and election services of etcd let such errors arrive as UNKNOWN with the plain text."""

    text = "the recipe cannot go on"


class ElectionNotLeader(RecipeError):
    """A proclamation by somebody who does not lead, or leads no more."""

    text = "election: not leader"


class ElectionNoLeader(RecipeError):
    """Nobody leads just now."""

    text = "election: no leader"


class SessionExpired(RecipeError):
    """The lease ran out, and what hung on it is gone: a place in a line, a lock, a claim."""

    text = "mutex: session is expired"


class LockReleased(RecipeError):
    """A lock is given back that is not held."""

    text = "mutex: lock has already been released"


class KeyExists(RecipeError):
    """What was to be made is there already."""

    text = "key already exists"


class Fenced(RecipeError):
    """The claim that this was written under is over: somebody else may have taken over."""

    code = "FAILED_PRECONDITION"
    text = "checkpoint: the claim is lost"


class TooManyConflicts(RecipeError):
    """Others changed what a transaction had read, each time that it was tried."""

    code = "ABORTED"
    text = "stm: too many conflicts"


def request_error(name: str, text: str = "", hint: str = "") -> RequestError:
    """The error of class `name`, rebuilt from an answer; an unknown name gives a RequestError.

    >>> request_error("NoLeader", "etcdserver: no leader").code
    'UNAVAILABLE'
    """
    found = (kind for kind in request_errors() if kind.__name__ == name)
    return next(found, RequestError)(text or None, hint)


def request_errors() -> Iterator[type[RequestError]]:
    """All answers to a client that there are: parents, then children, then grandchildren."""
    family = [RequestError]
    for kind in family:  # grows while it is walked
        yield kind
        family.extend(kind.__subclasses__())


# Conditions that a caller handles -----------------------------------------------------------


class ProposalDropped(KVLearnError):
    """Raft did not take a proposal; nothing happened. `reason` is a code of `events.REASONS`."""

    def __init__(self, reason: str, why: str):
        self.reason = reason
        super().__init__(why)

    def __reduce__(self):
        return type(self), (self.reason, str(self))


class ConfChangeError(ProposalDropped):
    """A membership change that does not fit the present configuration; nothing happened."""


class StorageError(KVLearnError):
    """What the disk holds is damaged, foreign or in use."""


# Verdicts -----------------------------------------------------------------------------------


class Violation(KVLearnError):
    """A promise was broken. Carries `promise`, `why`, the `record` that broke it and the `seed`."""

    def __init__(self, promise: str, why: str, record=None, seed=None):
        self.promise, self.why, self.record, self.seed = promise, why, record, seed
        where = f" [record {record.seq}, t={record.time:.6f} s]" if record is not None else ""
        replay = f" (seed {seed})" if seed is not None else ""
        super().__init__(f"{promise} is broken: {why}{where}{replay}")

    def __reduce__(self):  # a sweep brings it home from another process
        return type(self), (self.promise, self.why, self.record, self.seed)


class Blank(KVLearnError):
    """A rule that the student has not written yet was asked."""
