package api

// ProblemOf gives the answer that an error of a Backend is worth, for those who
// show it in another form than JSON.
func ProblemOf(err error) *Problem { return problem(err) }
