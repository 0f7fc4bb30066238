"""Rules: each turns the evidence about one process into findings of one id, the id its file is named after."""
