"""Training methods, one module each: `train(model, tokenizer, data, settings, folder, …)`. The folder is the list."""
