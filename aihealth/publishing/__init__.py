"""From a release folder to the Hub: model, Space, data set, card, checks."""
