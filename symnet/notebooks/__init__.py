"""What notebooks show of symnet's values. Nothing imports this; ``symnet.display`` asks it."""

from symnet.notebooks.forms import form_of
