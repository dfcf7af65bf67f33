"""The exercises of the lessons, by name: `lesson/exercise`."""

from kvlearn.course.exercises import election, quorum, replication, start

ROOMS = (start, quorum, election, quorum, replication)
EXERCISES = {exercise.name: exercise for room in ROOMS for exercise in room.EXERCISES}
