// watches
