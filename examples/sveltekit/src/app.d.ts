import type { User } from '$lib/server/session';

declare global {
  namespace App {
    interface Locals {
      /** Whoever is signed in. */
      user: User | undefined;
    }
  }
}
