"""Fine-tuning: data, quantisation, adapters, one module per method, evaluation. The only heavy room; it takes a `Permit`."""
