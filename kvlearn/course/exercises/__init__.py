"""The exercises of the lessons, by name: `lesson/exercise`."""

from kvlearn.course.exercises import election, replication, start

ROOMS = (start, election, replication)
EXERCISES = {exercise.name: exercise for room in ROOMS for exercise in room.EXERCISES}
