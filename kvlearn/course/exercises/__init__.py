"""The exercises of the lessons, by name: `lesson/exercise`."""

from kvlearn.course.exercises import election, start

EXERCISES = {exercise.name: exercise for room in (start, election) for exercise in room.EXERCISES}
