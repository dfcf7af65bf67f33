// members
