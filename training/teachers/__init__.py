"""Who labels: prompts to answers, paid for once, under a cap, with a journal that outlives the process."""
