"""The exercises of the lessons, by name: `lesson/exercise`."""

from kvlearn.course.exercises import crashes, election, quorum, replication, safety, start

ROOMS = (start, quorum, election, replication, safety, crashes)
EXERCISES = {exercise.name: exercise for room in ROOMS for exercise in room.EXERCISES}
