// verdicts
