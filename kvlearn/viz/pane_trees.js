// trees
