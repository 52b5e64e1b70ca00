//! Wire types generated from proto/ and the clients through which roles call each other.
