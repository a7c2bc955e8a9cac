"""Which of many models fail? Sources of models, one outcome for each, what fails of them, and what was accepted before."""
