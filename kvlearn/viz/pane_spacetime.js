// spacetime
