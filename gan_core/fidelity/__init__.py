"""Measures how good generated samples are: distances to held-out real samples, each with its standard error.

`scorers.build_scorer` builds the scorer of a data set. `features` holds the feature extractors in which images are
compared, and `examine.examine` tests an extractor on the data before it is used. This package may import every other
package of `gan_core` except `workshop`.
"""
