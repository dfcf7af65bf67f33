"""The exercises of the lessons, by name: `lesson/exercise`."""

from kvlearn.course.exercises import (
    crashes,
    election,
    leases,
    liveness,
    membership,
    quorum,
    reads,
    real,
    recipes,
    replication,
    revisions,
    safety,
    snapshots,
    start,
    transactions,
    trees,
    watch,
)

ROOMS = (
    start,
    quorum,
    election,
    replication,
    safety,
    crashes,
    snapshots,
    membership,
    reads,
    liveness,
    revisions,
    trees,
    watch,
    transactions,
    leases,
    recipes,
    real,
)
EXERCISES = {exercise.name: exercise for room in ROOMS for exercise in room.EXERCISES}
