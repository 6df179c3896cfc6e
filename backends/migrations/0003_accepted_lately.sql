-- Pings tell a computer that it was accepted since its last exchange.
create index computer_accepted_at on computer (accepted_at);
