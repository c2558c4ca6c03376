"""Learn from traffic: update the head's posterior vote by vote, explore, and judge policies by past decisions."""
